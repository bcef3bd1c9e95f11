"""A batch, from scenes to outputs."""

from __future__ import annotations

import time
from collections.abc import Sequence

from geounet.batch.after import refuse_items, refuse_mosaic
from geounet.batch.cluster import crew, get_ready
from geounet.batch.driver import GOES_ON, Driver
from geounet.batch.options import BatchOptions
from geounet.batch.place import place_of
from geounet.batch.report import BatchReport
from geounet.batch.scenes import make_jobs
from geounet.batch.source import Source
from geounet.choose import Say
from geounet.options import Progress


def run_batch(
    sources: Sequence[Source],
    options: BatchOptions,
    *,
    say: Say,
    progress: Progress | None = None,
) -> BatchReport:
    """Segment scenes on a cluster.

    Law: outputs are those of :func:`geounet.segment`, byte for byte, whatever was killed and
    started again on the way.

    Args:
        sources: See :func:`geounet.batch.read_scenes`.
        options: Where, and what.
        say: Hears what the user should know.
        progress: Hears how many pixels are done, of how many.

    Returns:
        What was done. A scene that failed is in there and in the manifest; the others are done.

    Raises:
        GeounetError: Nothing could be begun, the cluster was lost, or the manifest cannot be
            written.
        KeyboardInterrupt: Interrupted; what is computed stays.
    """
    start = time.perf_counter()
    get_ready(options)
    place = place_of(options.folder)
    manifest = place.manifest()
    finished = manifest.finished()
    jobs = make_jobs(sources, options, finished)
    refuse_mosaic(place, options, manifest)
    if options.stac:
        refuse_items(place, jobs.jobs)
    try:
        with place.taken(manifest, say):
            driver = Driver(options, manifest, say, progress)
            for name, why in jobs.unreadable.items():
                driver.fail(name, why)
            if jobs.jobs:
                with crew(options) as workers:
                    if workers.dashboard:
                        say(f"dashboard: {workers.dashboard}")
                    driver.run(workers, jobs.jobs)
                driver.conclude()
    except KeyboardInterrupt as interruption:
        interruption.args = (GOES_ON,)
        raise
    return driver.report(time.perf_counter() - start)
