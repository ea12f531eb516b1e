"""The engine's pages without what only the internet or its own site gives: styles, scripts, menus.

A page of Great Expectations 1.24 takes nine scripts and six style sheets from elsewhere and links
to an index that is not written. Here each page stands alone: no request leaves the browser, and
every link on it leads somewhere.
"""

import re

_STYLE = """
<style>
  body { font: 14px/1.5 system-ui, sans-serif; color: #333; margin: 2em auto; max-width: 64em; }
  table { border-collapse: collapse; margin: .5em 0; }
  td, th { border: 1px solid #ddd; padding: .3em .7em; text-align: left; vertical-align: top; }
  h1, h2, h3, h4, h5, h6 { margin: 1.2em 0 .3em; font-size: 16px; }
  .fa-check-circle::before { content: "✔"; color: #009E73; font-style: normal; }
  .fa-times::before { content: "✘"; color: #D55E00; font-style: normal; }
  .fa-exclamation-triangle::before { content: "!"; color: #E69F00; font-style: normal; }
  .ge-section { margin-bottom: 1em; }
  .modal, .sticky, .collapse, [data-toggle], .cooltip .top { display: none; }
</style>
"""
_ELSEWHERE = re.compile(
    r"<script\b.*?</script>|<link\b[^>]*>|<style\b.*?</style>|<footer\b.*?</footer>|<nav\b.*?</nav>",
    re.DOTALL,
)
_DEAD_LINK = re.compile(r'<a\b[^>]*href="(?:\.\./|https?://)[^"]*"[^>]*>(.*?)</a>', re.DOTALL)


def standing_alone(html: str) -> str:
    """Return a page of the engine that needs nothing but itself."""
    plain = _DEAD_LINK.sub(r"\1", _ELSEWHERE.sub("", html))
    return plain.replace("</head>", f"{_STYLE}</head>", 1)
