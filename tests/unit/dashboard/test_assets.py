"""What is served to browsers: libraries as they were recorded, a policy that holds, imports that lead somewhere."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from openrft.dashboard import Assets
from openrft.dashboard.assets import STATIC

MODULES = sorted(path for path in STATIC.rglob("*.js") if "vendor" not in path.parts)
# What would let text become markup or code; the policy forbids them as well.
MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function\(|srcdoc|setHTMLUnsafe"
)
STATIC_IMPORT = r"""^(?:import\s(?:[^;"'=]*\sfrom\s)?|export\s[^;"'=(]*\sfrom\s)["']([^"']+)["'];"""
IMPORT = re.compile(STATIC_IMPORT + r"""|\bimport\("([^"]+)"\)""", re.MULTILINE)
MOST_PACKED = 130_000  # bytes that any one page is made of
COMMENT = re.compile(r"/\*.*?\*/|(?<![:\"'`])//[^\n]*", re.DOTALL)


@pytest.fixture(scope="module")
def assets() -> Assets:
    return Assets()


def import_map(assets: Assets) -> str:
    found = re.search(rb'<script type="importmap">(.*?)</script>', assets.page, re.DOTALL)
    assert found is not None
    return found[1].decode()


def name_of(path: Path) -> str:
    return path.relative_to(STATIC).as_posix()


def imports(path: Path) -> list[str]:
    """What a module names, in its head or when it is needed."""
    return [static or later for static, later in IMPORT.findall(COMMENT.sub("", path.read_text(encoding="utf-8")))]


def loaded_with(path: Path, libraries: dict[str, str], found: set[str] | None = None) -> set[str]:
    """The names of the files that a browser has read once this module runs, but those that are read when needed."""
    found = set() if found is None else found
    if name_of(path) in found:
        return found
    found.add(name_of(path))
    for wanted, _ in IMPORT.findall(COMMENT.sub("", path.read_text(encoding="utf-8"))):
        if wanted in libraries:
            loaded_with(STATIC / "vendor" / libraries[wanted].rpartition("/")[2], libraries, found)
        elif wanted:
            loaded_with((path.parent / wanted).resolve(), libraries, found)
    return found


def test_the_libraries_are_those_that_were_recorded_and_none_is_there_besides() -> None:
    recorded = json.loads((STATIC / "vendor/VENDOR.json").read_text())["files"]
    found = {path.name: path for path in (STATIC / "vendor").iterdir() if path.suffix in (".js", ".css")}
    assert found.keys() == recorded.keys()
    for name, path in found.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == recorded[name]["sha256"], name
    licenses = (STATIC / "vendor/LICENSES.txt").read_text()
    assert all(package["name"] in licenses for one in recorded.values() for package in one["packages"])


def test_the_policy_lets_in_the_import_map_of_the_page_and_no_other_script_in_it(assets: Assets) -> None:
    digest = base64.b64encode(hashlib.sha256(import_map(assets).encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in assets.policy.split(";"))
    assert rules["script-src"] == f"'self' 'sha256-{digest}'"
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert rules["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in assets.policy and "http" not in assets.policy
    scripts = re.findall(rb"<script([^>]*)>(.*?)</script>", assets.page, re.DOTALL)
    assert [bool(inside) for _, inside in scripts] == [True, False]
    assert not re.search(rb"<style|\son\w+=|javascript:", assets.page)


def test_whatever_the_page_names_is_served(assets: Assets) -> None:
    root = f"/assets/{assets.version}/"
    named = re.findall(r'(?:src|href)="([^"]+)"', assets.page.decode())
    for address in (*named, *json.loads(import_map(assets))["imports"].values()):
        assert address.startswith(root)
        assert assets.get(address.removeprefix(root)) is not None, address
    assert b"{{" not in assets.page


def test_every_file_is_served_as_what_it_is_and_packed_to_the_same_bytes(assets: Assets) -> None:
    for name in assets.names():
        asset = assets.get(name)
        assert asset is not None
        assert gzip.decompress(asset.packed) == asset.body == (STATIC / name).read_bytes()
    types = {name: getattr(assets.get(name), "media_type", "") for name in ("app.js", "style/base.css", "favicon.svg")}
    assert types["app.js"].startswith("text/javascript") and types["style/base.css"].startswith("text/css")
    assert types["favicon.svg"] == "image/svg+xml"
    assert assets.get("../assets.py") is None and assets.get("index.html") is None


def test_the_version_changes_with_any_byte_of_any_file(tmp_path: Path) -> None:
    first = tmp_path / "static"
    shutil.copytree(STATIC, first)
    version = Assets(first).version
    assert Assets(first).version == version == Assets().version
    for name in ("pages/jobs.js", "style/base.css", "index.html", "vendor/preact.js"):
        changed = first / name
        before = changed.read_bytes()
        changed.write_bytes(before + b"\n")
        assert Assets(first).version != version, name
        changed.write_bytes(before)
    (first / "pages/jobs.js").rename(first / "pages/job_list.js")
    assert Assets(first).version != version


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_makes_no_markup_of_text_and_imports_what_there_is(path: Path, assets: Assets) -> None:
    source = path.read_text(encoding="utf-8")
    assert MARKUP.search(COMMENT.sub("", source)) is None
    libraries = json.loads(import_map(assets))["imports"]
    for wanted in imports(path):
        if wanted.startswith("."):
            assert (path.parent / wanted).resolve().is_file(), wanted
        else:
            assert wanted in libraries, wanted


def test_every_module_says_that_its_types_are_checked_and_is_short_enough_to_be_read() -> None:
    for path in MODULES:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines[0] == "// @ts-check", name_of(path)
        assert len(lines) <= 350, name_of(path)


def test_every_page_that_an_address_leads_to_is_there_and_is_asked_for_by_some_address() -> None:
    named = set(re.findall(r'import\("\./pages/([\w.]+)"\)', (STATIC / "app.js").read_text()))
    there = {path.name for path in (STATIC / "pages").glob("*.js")}
    assert named == there


@pytest.mark.parametrize("page", sorted((STATIC / "pages").glob("*.js")), ids=name_of)
def test_what_a_browser_loads_for_a_page_stays_small(assets: Assets, page: Path) -> None:
    libraries = json.loads(import_map(assets))["imports"]
    names = loaded_with(STATIC / "app.js", libraries) | loaded_with(page, libraries)
    names |= {name for name in assets.names() if name.endswith(".css")}
    assert "vendor/codemirror.js" not in names, "the editor is loaded when it is needed: import(…)"
    packed = {name: len(getattr(assets.get(name), "packed", b"")) for name in names}
    assert sum(packed.values()) <= MOST_PACKED, sorted(packed.items(), key=lambda one: -one[1])[:10]
