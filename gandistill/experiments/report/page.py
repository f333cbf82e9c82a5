"""HTML that stands alone: no script, no font, no request. Everything that is said passes through ``escape``."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from gandistill import __version__
from gandistill.charts import STYLE, Chart
from gandistill.evaluate.markdown import cells

LAYOUT = """
body{margin:0 auto;padding:1rem;max-width:76rem;font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;
color:var(--ink);background:var(--paper)}
h1{font-size:1.5rem;line-height:1.25;margin:.5rem 0}h2{font-size:1.25rem;margin:2.5rem 0 .5rem;padding-top:.75rem;
border-top:2px solid var(--rule);overflow-wrap:anywhere}h3{font-size:1.05rem;margin:1.75rem 0 .25rem}
p,figcaption{max-width:44rem}figcaption,footer{color:var(--faint);font-size:.875rem}figure{margin:.75rem 0 1.25rem}
.charts{display:flex;flex-wrap:wrap;gap:.5rem 2rem}.charts>div{max-width:100%;overflow-x:auto}
svg.chart{display:block;height:auto;max-width:100%}
dl{display:grid;grid-template-columns:minmax(6rem,max-content) 1fr;gap:.25rem 1rem;margin:.75rem 0}
dt{color:var(--faint)}dd{margin:0;overflow-wrap:anywhere}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.8125rem;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .75rem .2rem 0;text-align:left;border-bottom:1px solid var(--rule);white-space:nowrap}
td.number,th.number{text-align:right}summary{cursor:pointer;color:var(--faint);font-size:.875rem}
nav a{color:inherit;margin-right:1rem;overflow-wrap:anywhere}
""".replace("\n", "")


def page(title: str, lead: str, sections: Sequence[tuple[str, str]]) -> str:
    """A whole page of sections, each its heading and what it says; their headings are listed first."""
    places = [f"part{number}" for number in range(1, len(sections) + 1)]
    links = "".join(f'<a href="#{at}">{escape(name)}</a>' for at, (name, _) in zip(places, sections, strict=True))
    parts = "".join(
        f'<section id="{at}"><h2>{escape(name)}</h2>{text}</section>\n'
        for at, (name, text) in zip(places, sections, strict=True)
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{STYLE}{LAYOUT}</style></head>\n"
        f"<body><header><h1>{escape(title)}</h1>{paragraph(lead)}<nav>{links}</nav></header>\n<main>{parts}</main>\n"
        f"<footer><p>Made by gandistill {escape(__version__)}.</p></footer></body></html>\n"
    )


def part(name: str, *content: str) -> str:
    """A heading within a section, and what stands below it."""
    return f"<h3>{escape(name)}</h3>{''.join(content)}"


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def facts(named: Mapping[str, Any]) -> str:
    """What is known, by name; what is not known is left out."""
    known = {name: str(value) for name, value in named.items() if value}
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(value)}</dd>' for name, value in known.items())}</dl>"


def figure(charts: Sequence[Chart], caption: str, rows: Sequence[Mapping[str, Any]] = ()) -> str:
    """Charts with a caption, and the numbers behind them as a table to open."""
    drawn = "".join(f"<div>{chart.inline()}</div>" for chart in charts)
    numbers = f"<details><summary>The numbers</summary>{table(rows)}</details>" if rows else ""
    return f'<figure><div class="charts">{drawn}</div><figcaption>{escape(caption)}</figcaption>{numbers}</figure>'


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a table, columns in order of first appearance, numbers to the right; what a row lacks is empty."""
    header, body, right = cells(rows)
    lines = "".join(f"<tr>{_line('td', row, right)}</tr>" for row in body)
    head = f"<thead><tr>{_line('th', header, right)}</tr></thead>"
    return f'<div class="wide"><table>{head}<tbody>{lines}</tbody></table></div>'


def _line(tag: str, row: Sequence[str], right: Sequence[bool]) -> str:
    names = [' class="number"' if number else "" for number in right]
    return "".join(f"<{tag}{name}>{escape(cell)}</{tag}>" for name, cell in zip(names, row, strict=True))
