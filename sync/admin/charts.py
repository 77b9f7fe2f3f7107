"""What unfold's chart components take: Chart.js data and options as JSON."""

import json
from typing import Any

GREY = "#767e8c"  # read on both themes
OPTIONS = json.dumps(
    {
        "animation": False,
        "responsive": True,
        "maintainAspectRatio": False,
        "grouped": False,
        "maxBarThickness": 12,
        "borderRadius": 3,
        "elements": {"point": {"radius": 2}},
        "plugins": {
            "legend": {
                "position": "bottom",
                "reverse": True,
                "labels": {"color": GREY, "boxWidth": 8, "boxHeight": 8, "usePointStyle": True},
            }
        },
        "scales": {
            "x": {"grid": {"display": False}, "ticks": {"color": GREY, "maxRotation": 0, "maxTicksLimit": 8}},
            "y": {
                "beginAtZero": True,
                "border": {"display": False},
                "ticks": {"color": GREY, "maxTicksLimit": 5},
                "grid": {},
            },
        },
    }
)


def series(label: str, data: list[Any], colour: str) -> dict[str, Any]:
    return {"label": label, "data": data, "backgroundColor": colour, "borderColor": colour, "spanGaps": True}
