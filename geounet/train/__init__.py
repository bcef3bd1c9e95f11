"""The training room: from chips with labels to a bundle.

Needs ``geounet[train]``: torchgeo reads, kornia augments, Lightning runs the loop,
segmentation-models-pytorch brings the losses, scikit-learn the forest to compare with. Nothing in
here is imported by ``import geounet``.

A :class:`~geounet.train.source.Source` knows where chips and labels are and which of them belong
together; a :class:`~geounet.train.recipe.Recipe` says how to train;
:func:`~geounet.train.fit.fit` turns the two into weights;
:func:`~geounet.train.crossval.crossval` scores a recipe on groups it has not seen.
"""
