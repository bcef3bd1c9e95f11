"""Opens class maps and polygon layers in QGIS as a user would: run by QGIS's own Python.

    qgis_render.py FOLDER ...

Each folder holds map.tif and map.gpkg. Writes raster.png and vector.png beside them, one picture
pixel a raster pixel, and what QGIS made of them as qgis.json.
"""

import json
import os
import sys

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from qgis.core import (
    QgsApplication,
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor


def bounds(layer):
    """Left, bottom, right, top."""
    box = layer.extent()
    return [box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()]


def raster(layer):
    """What QGIS says of the class map."""
    renderer = layer.renderer()
    classes = renderer.classes() if renderer.type() == "paletted" else []
    return {
        "valid": layer.isValid(),
        "crs": layer.crs().authid(),
        "extent": bounds(layer),
        "renderer": renderer.type(),
        "classes": [[c.value, c.label, c.color.name(), c.color.alpha()] for c in classes],
        "nodata": layer.dataProvider().sourceNoDataValue(1),
        "band": layer.bandName(1),
    }


def vector(layer):
    """What QGIS says of the polygons."""
    renderer = layer.renderer()
    found = renderer.categories() if renderer.type() == "categorizedSymbol" else []
    return {
        "valid": layer.isValid(),
        "crs": layer.crs().authid(),
        "extent": bounds(layer),
        "renderer": renderer.type(),
        "classes": [[c.value(), c.label(), c.symbol().color().name()] for c in found],
        "features": layer.featureCount(),
        "fields": [field.name() for field in layer.fields()],
        "layer": layer.dataProvider().subLayers()[0].split("!!::!!")[1],
    }


def draw(layer, frame, path):
    """The layer as a picture on white, without smoothing."""
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setBackgroundColor(QColor("white"))
    settings.setOutputSize(QSize(frame.width(), frame.height()))
    settings.setExtent(frame.extent())
    settings.setDestinationCrs(frame.crs())
    settings.setFlag(QgsMapSettings.Antialiasing, False)
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(path)


def look(folder):
    """Open, tell, draw."""
    classes = QgsRasterLayer(f"{folder}/map.tif", "classes")
    polygons = QgsVectorLayer(f"{folder}/map.gpkg", "polygons", "ogr")
    draw(classes, classes, f"{folder}/raster.png")
    draw(polygons, classes, f"{folder}/vector.png")
    with open(f"{folder}/qgis.json", "w") as file:  # noqa: PTH123
        json.dump({"raster": raster(classes), "vector": vector(polygons)}, file)


application = QgsApplication([], False)
application.initQgis()
for name in sys.argv[1:]:
    look(name)
sys.stdout.flush()
os._exit(0)  # QGIS 3.22 crashes when it is taken down
