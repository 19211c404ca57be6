"""Published figures of the protocols, to stand beside a table: means over all scenes, whichever were fitted."""

__all__ = ["SOURCE", "published"]

SOURCE = (
    "Wynn and Turmukhambetov, DiffusioNeRF, CVPR 2023 (arXiv 2302.12231): means over the 8 scenes of LLFF and over 15 "
    "scans of DTU. LPIPS of the lines with (alex) is of that network; of the others it is as their authors reported it."
)
_COLUMNS = ("psnr", "ssim", "lpips", "average")
_VIEWS = (3, 6, 9)
_LLFF = {
    "mip-NeRF": "14.62/.351/.495/.246 20.87/.692/.255/.114 24.26/.805/.172/.073",
    "DietNeRF": "14.94/.370/.496/.240 21.75/.717/.248/.105 24.28/.801/.183/.073",
    "RegNeRF": "19.08/.587/.336/.146 23.10/.760/.206/.086 24.86/.820/.161/.067",
    "geometric baseline (alex)": "19.88/.590/.192/.118 24.28/.765/.101/.071 25.10/.802/.084/.060",
    "DiffusioNeRF (alex)": "19.79/.568/.209/.127 23.79/.747/.114/.075 25.02/.785/.096/.064",
}
_DTU = {
    "RegNeRF": "18.89/.745/.190/.112 22.20/.841/.117/.071 24.93/.884/.089/.047",
    "geometric baseline (alex)": "13.60/.661/.212/.185 16.43/.759/.147/.092 22.01/.853/.071/.056",
    "DiffusioNeRF (alex)": "16.20/.698/.160/.135 20.34/.818/.093/.052 25.18/.883/.046/.033",
}
_TABLES = {"llff": _LLFF, "dtu": _DTU, "rooms": {}}


def published(protocol: str, views: list[int]) -> list[dict]:
    """Rows of published figures for some numbers of views: method, views, PSNR, SSIM, LPIPS and Average."""
    rows = []
    for count in views:
        for method, line in _TABLES[protocol].items() if count in _VIEWS else ():
            numbers = [float(number) for number in line.split()[_VIEWS.index(count)].split("/")]
            rows.append({"method": method, "views": count, **dict(zip(_COLUMNS, numbers, strict=True))})
    return rows
