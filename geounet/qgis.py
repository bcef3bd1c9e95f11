"""QGIS styles: the class colours, so that QGIS shows them unasked."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

from geounet.classes import ClassDef, ClassScheme

_HEAD = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_OUTLINE_DARKER = 0.7
_OTHERS = ClassDef(code=0, name="other", color="#bdbdbd")


def raster_qml(scheme: ClassScheme) -> str:
    """Style of a class map: one colour and name a class; nodata is transparent."""
    entries = "\n".join(
        f'    <paletteEntry value="{c.code}" color="{c.color}" label={quoteattr(c.name)}'
        ' alpha="255"/>'
        for c in scheme
    )
    return f"""{_HEAD}<qgis version="3.22" styleCategories="Symbology">
 <pipe>
  <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">
   <colorPalette>
{entries}
   </colorPalette>
  </rasterrenderer>
 </pipe>
</qgis>
"""


def polygon_qml(scheme: Iterable[ClassDef], field: str = "class", *, others: bool = False) -> str:
    """Style of a polygon layer: filled by class, with a darker thin outline and a legend.

    Args:
        scheme: The classes.
        field: The column of their codes.
        others: Whether there may be codes without a class: QGIS would not draw them.
    """
    classes = list(scheme)
    categories = "\n".join(
        f'   <category value="{c.code}" type="long" symbol="{i}" label={quoteattr(c.name)}'
        ' render="true"/>'
        for i, c in enumerate(classes)
    )
    if others:
        categories += (
            f'\n   <category value="" type="string" symbol="{len(classes)}" label="{_OTHERS.name}"'
            ' render="true"/>'
        )
        classes.append(_OTHERS)
    symbols = "\n".join(_symbol(i, c) for i, c in enumerate(classes))
    return f"""{_HEAD}<qgis version="3.22" styleCategories="Symbology">
 <renderer-v2 type="categorizedSymbol" attr={quoteattr(field)} symbollevels="0" enableorderby="0"
  forceraster="0">
  <categories>
{categories}
  </categories>
  <symbols>
{symbols}
  </symbols>
 </renderer-v2>
 <layerGeometryType>2</layerGeometryType>
</qgis>
"""


def aux_xml(scheme: ClassScheme | None = None, srs: str | None = None) -> str:
    """GDAL's ``.aux.xml``: what a GeoTIFF itself cannot hold.

    Args:
        scheme: Class names; the position in the list is the code.
        srs: The CRS as WKT.
    """
    place = "" if srs is None else f"  <SRS>{escape(srs)}</SRS>\n"
    band = "" if scheme is None else _category_names(scheme)
    return f"<PAMDataset>\n{place}{band}</PAMDataset>\n"


def _category_names(scheme: ClassScheme) -> str:
    names = dict(zip(scheme.codes, scheme.names, strict=True))
    entries = "\n".join(
        f"      <Category>{escape(names.get(code, ''))}</Category>"
        for code in range(max(scheme.codes) + 1)
    )
    return f"""  <PAMRasterBand band="1">
    <CategoryNames>
{entries}
    </CategoryNames>
  </PAMRasterBand>
"""


def _symbol(index: int, entry: ClassDef) -> str:
    red, green, blue = entry.rgb
    dark = ",".join(str(int(v * _OUTLINE_DARKER)) for v in entry.rgb)
    options = {
        "color": f"{red},{green},{blue},255",
        "style": "solid",
        "outline_color": f"{dark},255",
        "outline_style": "solid",
        "outline_width": "0.1",
        "outline_width_unit": "MM",
        "joinstyle": "miter",
    }
    props = "\n".join(f'     <prop k="{k}" v="{v}"/>' for k, v in options.items())
    return f"""   <symbol type="fill" name="{index}" alpha="1" force_rhr="0" clip_to_extent="1">
    <layer class="SimpleFill" enabled="1" locked="0" pass="0">
{props}
    </layer>
   </symbol>"""
