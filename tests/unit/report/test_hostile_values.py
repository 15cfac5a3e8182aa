"""Reports of every kind whose every text was written by somebody who means harm: they show it, and do nothing."""

import dataclasses
import html.parser
import json
import re
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup
from pydantic import BaseModel

from overnight.records import Condition
from overnight.report import page, run_markdown, trial_markdown
from overnight.report.best_of_k import markdown as best_of_k_markdown
from overnight.report.best_of_k import page as best_of_k_page
from overnight.report.best_of_k.reading import read_best_of_k
from overnight.report.capture import markdown as capture_markdown
from overnight.report.capture import page as capture_page
from overnight.report.capture.reading import read_capture
from overnight.report.reading import read_run
from overnight.report.templating import json_script
from overnight.report.uncertainty import markdown as uncertainty_markdown
from overnight.report.uncertainty import page as uncertainty_page
from overnight.report.uncertainty.reading import read_uncertainty
from tests.unit.captures.made_up_run import write_capture_run
from tests.unit.report.best_of_k.sweep_run import write_sweep_run
from tests.unit.report.uncertainty.sweep_folder import MODELS, made_up, spec_of, write_sweep

# Whatever ends an attribute, a tag, a script, a comment, a cell, a line or a template, and whatever runs.
HOSTILE = (
    "\"'></script></style></title></textarea>--><script>alert(1)</script><img src=x onerror=alert(2)>"
    "<svg/onload=alert(3)><a href='javascript:alert(4)'>x</a>&lt;script&gt;{{ 7 * 7 }}{% raw %}"
    "| a `b` [x](javascript:alert(5)) ![x](http://evil.example/p.png) <http://evil.example> "
    "\u2028\u2029\u202e\x00\r\n# h"
)
# As long, with the same places to break a line at, and without what means something in HTML.
HARMLESS = HOSTILE.translate(dict.fromkeys(map(ord, "<>&\"'"), "~"))
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\u2028-\u202e]")
RUNS = re.compile(r"javascript:|data:text|vbscript:", re.IGNORECASE)


class Page(html.parser.HTMLParser):
    """What a browser makes of a page: elements with their attributes, scripts, texts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.text = ""
        self.comments: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs).get("type"), ""))

    def handle_data(self, data: str) -> None:
        if self.elements and self.cdata_elem == "script":
            kind, before = self.scripts[-1]
            self.scripts[-1] = (kind, before + data)
        else:
            self.text += data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def poisoned(value: Any, payload: str) -> Any:
    """Return a value in which every text that data could have put there ends with the payload."""
    match value:
        case Markup() | Enum():  # made of other values by a template of ours; one of our own words
            found = value
        case str():
            found = value + payload
        case Mapping():  # by the name of a field, or by a name that data gave: what looks it up finds it
            found = {key: poisoned(each, payload) for key, each in value.items()}
            found |= {
                key + payload: found[key]
                for key in value
                if isinstance(key, str) and not isinstance(key, Enum)
            }
        case BaseModel():
            fields = type(value).model_fields
            found = value.model_copy(
                update={name: poisoned(getattr(value, name), payload) for name in fields}
            )
        case tuple() if hasattr(value, "_fields"):
            found = type(value)(*(poisoned(each, payload) for each in value))
        case tuple() | list() | frozenset():
            found = type(value)(poisoned(each, payload) for each in value)
        case _ if dataclasses.is_dataclass(value):
            fields = [
                field.name for field in dataclasses.fields(value) if field.init and field.name not in OURS
            ]
            found = dataclasses.replace(
                value, **{name: poisoned(getattr(value, name), payload) for name in fields}
            )
        case _:
            found = value
    return found


# Names of points and definitions, which the renderers take apart or look up in what they say of them; the readers
# refuse others.
OURS = frozenset({"point", "points", "components", "pictures"})


@pytest.fixture
def prompt_sweep(make_run, trial, questions, better_replies) -> Any:
    replies = better_replies | {(questions[0].item_id, arm): (HOSTILE, 0.0) for arm in Condition}
    return read_run(
        make_run([trial("brief", replies), trial("polite", better_replies), trial("lost")], questions)
    )


@pytest.fixture(scope="module")
def uncertainty_sweep(tmp_path_factory) -> Any:
    folder = write_sweep(
        tmp_path_factory.mktemp("uncertainty") / "run_r1",
        spec_of(MODELS[:1], statistics={"resamples": 20}, measures=["g_nll", "n_tokens"], labels=["f1"]),
        {("small-a", "facts"): made_up(1, signal=1.0, accuracy=0.5)},
        n_items=24,
    )
    return read_uncertainty(folder)


def of_prompts(run: Any) -> tuple[str, list[str]]:
    return page.run_page(run), [
        run_markdown.run_markdown(run),
        *(trial_markdown.trial_markdown(run, t) for t in run.trials),
    ]


def of_uncertainty(report: Any) -> tuple[str, list[str]]:
    trials = [uncertainty_markdown.trial_markdown(report, t) for t in report.run.trials]
    return uncertainty_page.run_page(report), [uncertainty_markdown.run_markdown(report), *trials]


def of_best_of_k(report: Any) -> tuple[str, list[str]]:
    trials = [best_of_k_markdown.trial_markdown(report, t) for t in report.trials]
    return best_of_k_page.run_page(report), [best_of_k_markdown.run_markdown(report), *trials]


def of_capture(report: Any) -> tuple[str, list[str]]:
    return capture_page.run_page(report), [capture_markdown.run_markdown(report)]


def require_harmless(render: Callable[[Any], tuple[str, list[str]]], report: Any) -> None:
    """Check that a page has the elements that it has with harmless texts, and that nothing of the payload acts."""
    text, markdowns = render(poisoned(report, HOSTILE))
    found, wanted = Page(text), Page(render(poisoned(report, HARMLESS))[0])
    assert [tag for tag, _ in found.elements] == [tag for tag, _ in wanted.elements]
    assert found.comments == wanted.comments
    for (tag, attributes), (_, before) in zip(found.elements, wanted.elements, strict=True):
        assert attributes.keys() == before.keys(), tag
        assert not any(name.startswith("on") for name in attributes)
        for name in ("href", "src", "style", "http-equiv", "content", "type", "id"):
            if name in attributes and tag != "title":
                assert HOSTILE not in (attributes[name] or ""), (tag, name)
                assert not RUNS.match((attributes[name] or "").strip()), (tag, name)
    for (kind, script), (_, before) in zip(found.scripts, wanted.scripts, strict=True):
        if kind == "application/json":
            json.loads(script)
            assert not re.search("[<>&\u2028\u2029]", script)
        else:
            assert script == before
    assert "49" not in re.findall(r"\{\{ (\d+) \}\}", found.text)
    assert "alert(1)" in found.text  # shown as what it is
    shown = re.sub(r"(?s)<script[^>]*>.*?</script>", "", text)  # the readers make what stands in data visible
    assert [shown[m.start() - 60 : m.end() + 5] for m in HIDDEN.finditer(shown)] == []
    for markdown in markdowns:
        without_code = re.sub(r"(?ms)^(`{3,}).*?^\1$", "", markdown)
        assert [markdown[m.start() - 60 : m.end() + 5] for m in HIDDEN.finditer(markdown)] == []
        assert not re.search(r"<(script|img|svg|a|/script|http)\b", without_code, re.IGNORECASE)
        assert not re.search(r"(?<!\\)\]\((javascript|http)", without_code)
        assert not re.search(r"(?m)^# h", without_code)


def test_a_hostile_prompt_sweep_is_only_shown(prompt_sweep) -> None:
    require_harmless(of_prompts, prompt_sweep)


def test_a_hostile_uncertainty_sweep_is_only_shown(uncertainty_sweep) -> None:
    require_harmless(of_uncertainty, uncertainty_sweep)


def test_a_hostile_best_of_k_sweep_is_only_shown(tmp_path: Path) -> None:
    report = read_best_of_k(write_sweep_run(tmp_path, unmeasured=True, statistics={"n_resamples": 40}))
    require_harmless(of_best_of_k, report)


def test_a_hostile_capture_is_only_shown(tmp_path: Path) -> None:
    report = read_capture(write_capture_run(tmp_path, hostile=HOSTILE))
    require_harmless(of_capture, report)


def test_no_data_ends_the_script_that_it_stands_in() -> None:
    text = json_script({HOSTILE: [HOSTILE, "</script", "<!--", "]]>", "&quot;"]})
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text)[HOSTILE][0] == HOSTILE


def test_no_script_of_ours_makes_elements_of_texts() -> None:
    # Data reach the page as text nodes; each of these would read them as HTML or as code.
    sinks = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\(\s*[\"']on|"
        r"createContextualFragment|srcdoc|javascript:|set(Timeout|Interval)\(\s*[\"'`]|fetch\(|XMLHttpRequest|import\("
    )
    scripts = sorted((Path(page.__file__).parent / "templates").glob("*.js"))
    assert len(scripts) >= 5
    for script in scripts:
        assert not sinks.search(script.read_text(encoding="utf-8")), script.name


def test_no_template_takes_an_escape_away() -> None:
    templates = sorted((Path(page.__file__).parent / "templates").glob("*.j2"))
    assert len(templates) >= 10
    for template in templates:
        text = template.read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe\b|autoescape\s+false|\bon[a-z]+=", text), template.name
