"""The texts of the model cards of the models that ship."""

SEN1FLOODS = (
    "Eight hand-labelled Sentinel-1 chips of 512 x 512 pixels (VV, VH in dB, about 10 m) from"
    " Sen1Floods11 (Bonafilia, Tellman, Anderson & Issenberg 2020, CVPR Workshops,"
    " doi:10.1109/CVPRW50498.2020.00113): Ghana (2), India, Mekong, Nigeria, Somalia, Sri Lanka;"
    " Pakistan was left out of training, since its label shows far more water than its image (they"
    " are of different days), but is scored. One Ghana chip is not labelled, one is all land."
)
CHIPS12 = (
    "206 chips of 128 x 128 pixels of Landsat-like surface reflectance in seven bands, from 55"
    " places, with {label}. Bands with quality, elevation, land cover or water occurrence were not"
    " shown to the network."
)
WATER_LABEL = (
    "water masks, taken as they are. Looked at beside the images, many show the largest extent of a"
    " flood: the same mask lies on several dates of a place, and dry floodplain and flooded fields"
    " are labelled water. No chip was left out for that, so scores of any method are low, and the"
    " model leans towards calling damp floodplain water"
)
COVER_LABEL = (
    "ESA WorldCover codes (Zanaga et al. 2021/2022, doi:10.5281/zenodo.5571936 and"
    " doi:10.5281/zenodo.7254221) as labels. WorldCover was made from other images of 2020 and"
    " 2021, so it is a weak label here: flooded cropland is labelled cropland, and borders are off"
)

TERMS_S1 = (
    "Weights: Apache-2.0, as geounet. Data: Sen1Floods11, CC BY 4.0, contains modified Copernicus"
    " Sentinel data."
)
TERMS_WATER = (
    "Weights: Apache-2.0, as geounet. Data: the chips are published under MIT, from Landsat images"
    " (US Geological Survey, public domain)."
)
TERMS_COVER = (
    TERMS_WATER + " Labels: ESA WorldCover, CC BY 4.0: (c) ESA WorldCover project / contains"
    " modified Copernicus Sentinel data processed by the ESA WorldCover consortium."
)

LIMITS_S1 = (
    "Trained on seven chips, so expect surprises elsewhere. Not for: flooded forest and standing"
    " crops (the radar sees the plants), wet snow, deserts and airports that are as dark as water,"
    " radar shadow in mountains, permanent against flood water (it maps both as water), linear"
    " power, other polarisations, X or L band, pixels far from 10 m."
)
LIMITS_WATER = (
    "Marks more than open water: damp floodplain and wet fields are often called water, as in"
    " the labels. Not for: water under clouds or cloud shadow (mask them first), snow and ice,"
    " sun glint, streams narrower than two pixels, digital numbers or top-of-atmosphere"
    " values, pixels far from 30 m. The decision threshold was fitted on the training chips"
    " and is part of the weights."
)
LIMITS_COVER = (
    "A rough map from one date: a little less than three quarters of the pixels agree with"
    " WorldCover at places it has not seen. It decides by a pixel and what lies close around it;"
    " a wider view did not help. Grassland, cropland and trees are confused with each other;"
    " shrubland is hardly ever found; bare and built-up are weak; wetland and moss were too rare"
    " to be learnt; snow and ice is missing. Not for statistics of area, nor for change."
)
