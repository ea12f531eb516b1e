from assets.data_docs import standing_alone

PAGE = """<html><head>
<link rel="stylesheet" href="https://cdn.example/style.css">
<script src="https://cdn.example/code.js"></script>
<style>p { color: red; }</style></head>
<body><nav><a href="../../index.html">Home</a></nav>
<p>Suite: <a href="../../expectations/day.html">day</a>, <a href="#rows">rows</a></p>
<script>run();</script><footer>Read <a href="https://news.example">more</a></footer>
</body></html>"""


def test_a_page_asks_nobody_else_and_links_only_to_itself() -> None:
    page = standing_alone(PAGE)

    assert "http" not in page
    assert "../" not in page
    assert "<script" not in page
    assert 'Suite: day, <a href="#rows">rows</a>' in page


def test_a_page_brings_one_style_of_its_own() -> None:
    page = standing_alone(PAGE)

    assert page.count("<style>") == 1
    assert "color: red" not in page
    assert page.index("<style>") < page.index("</head>")
