# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each filter and test over generated values: the same value as ansible-core's own, or refused as there."""

from __future__ import annotations

import os
import typing as t

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.background.jobs.plugins.module_utils._late.names import KNOWN_FILTERS, KNOWN_TESTS

from . import comparison
from .comparison import HOSTS, NOPE, Template

FULL = os.environ.get("FAULTS") == "full"
EXAMPLES = 200 if FULL else 15

# What every Python takes for the same kind of character.
TEXT = st.text(alphabet="aAbB01 .-_/{}[]%:,'\"\\\n\t\xdf\xe9\u20ac\U0001f600", max_size=12)
WORD = st.sampled_from(["", "a", "b", "name", "a.b", "1", "None", "null", "yes", "True", "{{ a }}", "{% if %}", "{#"])
NUMBER = st.integers(-5, 40) | st.sampled_from([2**40, -(2**70)]) | st.floats(width=32)
SCALAR = st.none() | st.booleans() | NUMBER | TEXT | WORD
KEY = st.sampled_from(["a", "b", "name", "key", "value", "{{ a }}"])


def nested(leaf: st.SearchStrategy[t.Any]) -> st.SearchStrategy[t.Any]:
    return st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEY, inner, max_size=3),
        max_leaves=8,
    )


DATA = nested(SCALAR)
# What a playbook may have put into a variable: undefined, omitted or still to be rendered as long as nobody looks.
LATE = nested(SCALAR | st.sampled_from([NOPE, Template("{{ 1 + 1 }}"), Template("{{ omit }}"), Template("{{ [1] }}")]))
LIST = st.lists(SCALAR, max_size=5) | st.lists(LATE, max_size=4)
DICT = st.dictionaries(KEY, LATE, max_size=4)
ANY = DATA | LATE
FLAG = st.booleans()


def mostly(strategy: st.SearchStrategy[t.Any], other: st.SearchStrategy[t.Any] = ANY) -> st.SearchStrategy[t.Any]:
    """Such values, and once in a while others that nobody should give."""
    return st.one_of(*[strategy] * 6, other)


TEXTS = mostly(TEXT | WORD)
LISTS = mostly(LIST)
DICTS = mostly(DICT)
NUMBERS = mostly(NUMBER)
PATTERN = st.sampled_from(["a", "(a)(b)?", "^a", "[ab]+$", "(?P<x>.)", ".", "", "\\", "(", "\\s+", "A"])
PATH = mostly(st.sampled_from(["/a/b.c", "a/b", "/", "", "a.tar.gz", "../x", "C:\\a\\b.c", "/a/./b//c/"]) | TEXT)
# What Pythons disagree on, paths that only start like those of a network, is left out.
WINDOWS = mostly(st.sampled_from(["C:\\a\\b.c", "C:/a/b", "C:a", "\\\\host\\share\\a\\b", "a\\b", "\\a\\", "", "C:\\"]))
MODES = st.sampled_from(["replace", "keep", "append", "prepend", "append_rp", "prepend_rp", "other"])
ATTRIBUTES = st.sampled_from(["a", "b", "name", "a.b", "0"])
RESULT = mostly(
    st.dictionaries(
        st.sampled_from(
            ["failed", "changed", "skipped", "unreachable", "started", "finished", "timedout", "results", "msg"]
        ),
        FLAG | st.integers(0, 1) | st.lists(st.dictionaries(st.sampled_from(["changed"]), FLAG), max_size=2) | LATE,
    )
)
VERSION = mostly(
    st.from_regex(r"[0-9]{1,2}(\.[0-9]{1,2}){0,3}((a|b|rc|-alpha\.|-)[0-9a]{1,2})?(\+b[0-9])?", fullmatch=True)
    | st.from_regex(r"v?([01]!)?[0-9](\.[0-9]){0,2}(-?(a|rc|post|dev)[0-9]?)?(\.dev[0-9])?", fullmatch=True),
    TEXT | NUMBER,
)
LONG = nested(st.text(alphabet="aab b\t\n\"'\xe9\x85\u2028\ufeff\U0001f600:#-", max_size=150))
YAML = st.sampled_from(
    ["a: 1", "[1, 2", "- a\n- {b: ~}", "x: 2020-01-01", "!!set {a}", "a: !x 1", "--- 1\n--- 2", "yes"]
)
EPOCH = st.integers(0, 2**31) | st.floats(0, 2**31) | st.sampled_from(["1", "x"])
URL = st.sampled_from(["http://u:p@h:80/p?q=1#f", "urn:a:b", "file:///x", "//h", "http://h:x/", "a b", "", "HTTP://H"])

Case = tuple[str, dict[str, st.SearchStrategy[t.Any]]]


def case(text: str, **variables: st.SearchStrategy[t.Any]) -> Case:
    return text, variables


SETS = {"x": LISTS, "y": LISTS}
FILTERS: dict[str, list[Case]] = {
    "b64decode": [
        case("x | b64decode", x=TEXTS),
        case("x | b64encode | b64decode(urlsafe=u)", x=TEXTS, u=FLAG),
        case("x | b64encode('utf-16-le') | b64decode(encoding='utf-16-le')", x=TEXTS),
    ],
    "b64encode": [case("x | b64encode(urlsafe=u)", x=TEXTS, u=FLAG)],
    "basename": [case("x | basename", x=PATH)],
    "bool": [case("x | bool", x=ANY), case("x | bool", x=st.sampled_from(["YES", "On", 1, 0, 1.0, 2, "off", "n"]))],
    "checksum": [case("x | checksum", x=ANY)],
    "combinations": [case("x | combinations(n)", x=LISTS, n=st.integers(-1, 3))],
    "combine": [
        case("x | combine(y, recursive=r, list_merge=m)", x=DICTS, y=DICTS, r=FLAG, m=MODES),
        case("[x, y] | combine(z, recursive=true)", x=DICTS, y=DICTS, z=LISTS),
        case("x | combine", x=ANY),
        case("x | combine(y, other=1)", x=DICTS, y=DICTS),
        case(
            "{'a': x} | combine({'a': y}, recursive=r, list_merge=m)",
            x=LIST | DICT,
            y=LIST | DICT,
            r=FLAG,
            m=MODES,
        ),
    ],
    "comment": [
        case("x | comment(s)", x=TEXTS, s=st.sampled_from(["plain", "erlang", "c", "cblock", "xml", "no"])),
        case("x | comment('plain', prefix=p, postfix=q, decoration=p)", x=TEXTS, p=WORD, q=WORD),
        case(
            "x | comment(decoration=p, prefix_count=n, postfix_count=n, newline=w)",
            x=TEXTS,
            p=WORD,
            n=st.integers(-1, 3),
            w=WORD,
        ),
        case("x | comment('cblock', beginning=p, end=q, prefix='\n')", x=TEXTS, p=WORD, q=WORD),
    ],
    "commonpath": [case("x | commonpath", x=mostly(st.lists(PATH, max_size=3)))],
    "d": [case("x | d(y)", x=ANY, y=ANY), case("nope | d(y)", y=ANY)],
    "default": [
        case("x.a | default(y, true)", x=DICTS, y=ANY),
        case("x | default(y, boolean=z)", x=ANY, y=ANY, z=mostly(FLAG)),
        case("x.a.b[0] | default('none')", x=ANY),
        case("(x | int / 0) | default(1)", x=SCALAR),
    ],
    "dict2items": [
        case("x | dict2items", x=DICTS),
        case("x | dict2items(key_name=k, value_name=v)", x=DICTS, k=KEY, v=KEY),
    ],
    "difference": [case("x | difference(y)", **SETS)],
    "dirname": [case("x | dirname", x=PATH)],
    "extract": [
        case("k | extract(x)", k=KEY | NUMBER, x=DICTS | LISTS),
        case("k | extract(x, m)", k=KEY, x=DICTS, m=KEY | st.lists(KEY, max_size=2)),
        case("['a', 'b'] | map('extract', x) | list", x=DICTS),
    ],
    "flatten": [case("x | flatten", x=LISTS), case("x | flatten(levels=n, skip_nulls=s)", x=LISTS, n=NUMBER, s=FLAG)],
    "from_json": [
        case("x | from_json", x=TEXTS | st.sampled_from(['{"a": [1, 2.5, null]}', "NaN", '"\\ud800"', "[1"])),
        case("x | to_json | from_json", x=ANY),
        case("x | from_json", x=st.sampled_from(['{"__ansible_unsafe": "x"}', '[{"__ansible_vault": 1}]', "1e999"])),
    ],
    "from_yaml": [case("x | from_yaml", x=YAML | WORD), case("x | to_yaml | from_yaml", x=DATA)],
    "from_yaml_all": [case("x | from_yaml_all | list", x=YAML)],
    "groupby": [
        case("x | groupby(a) | list", x=mostly(st.lists(DICT, max_size=3)), a=ATTRIBUTES),
        case("x | groupby(a, default=1) | map(attribute='list') | list", x=st.lists(DICT, max_size=3), a=ATTRIBUTES),
    ],
    "hash": [case("x | hash(h)", x=ANY, h=st.sampled_from(["sha1", "sha256", "md5", "blake2b", "no"]))],
    "human_readable": [
        case("x | human_readable", x=NUMBERS),
        case("x | human_readable(isbits=b, unit=u)", x=NUMBERS, b=FLAG, u=st.sampled_from(["K", "m", "Gb", "", None])),
    ],
    "human_to_bytes": [
        case(
            "x | human_to_bytes(isbits=b)",
            x=st.sampled_from(
                [
                    "10",
                    "10.5M",
                    "2KB",
                    "3kb",
                    "4Mb",
                    "1",
                    "KB|2",
                    "gigabyte|.5Y",
                    "7Q",
                    "B",
                    "1B",
                    "1b",
                    "8bit",
                    "9byte",
                    "9Bytes",
                    "1.2.3",
                ]
            ),
            b=FLAG,
        ),
        case("x | human_to_bytes(u)", x=NUMBERS, u=st.sampled_from(["K", "MB", "b", "zz", None])),
    ],
    "intersect": [case("x | intersect(y)", **SETS)],
    "items2dict": [
        case("x | items2dict", x=mostly(st.lists(st.fixed_dictionaries({"key": SCALAR, "value": LATE}), max_size=3))),
        case("x | items2dict(key_name='a', value_name='b')", x=LISTS),
        case("x | dict2items | items2dict", x=DICTS),
    ],
    "log": [case("x | log", x=NUMBERS), case("x | log(b)", x=NUMBERS, b=NUMBERS | st.just(10))],
    "mandatory": [case("x | mandatory", x=ANY), case("x.a | mandatory(m)", x=DICTS, m=TEXTS)],
    "map": [
        case("x | map(attribute=a) | list", x=LISTS, a=ATTRIBUTES),
        case("x | map(attribute='a', default=d) | list", x=st.lists(DICT, max_size=3), d=SCALAR),
        case("x | map('upper') | map('regex_replace', 'A', p) | list", x=LISTS, p=WORD),
        case("x | map('default', 1) | list", x=LISTS),
        case("x | map('no_such_filter') | list", x=LISTS),
        case("x | map('ansible.builtin.basename') | join(',')", x=LISTS),
    ],
    "md5": [case("x | md5", x=ANY)],
    "normpath": [case("x | normpath", x=PATH)],
    "path_join": [case("x | path_join", x=mostly(st.lists(PATH, max_size=3) | PATH))],
    "permutations": [case("x | permutations(2)", x=LISTS), case("x | permutations", x=st.lists(SCALAR, max_size=3))],
    "pow": [case("x | pow(y)", x=NUMBERS, y=NUMBERS)],
    "product": [case("x | product(y)", x=LISTS, y=LISTS), case("x | product(repeat=2)", x=LISTS)],
    "quote": [case("x | quote", x=ANY)],
    "random": [
        case("x | random(seed=s)", x=LISTS, s=WORD | st.integers()),
        case("x | random(start=a, step=b, seed='s')", x=st.integers(-2, 99), a=st.integers(0, 5), b=st.integers(0, 3)),
    ],
    "regex_escape": [
        case("x | regex_escape(t)", x=ANY, t=st.sampled_from(["python", "posix_basic", "posix_extended"]))
    ],
    "regex_findall": [case("x | regex_findall(p, m, i)", x=TEXTS, p=PATTERN, m=FLAG, i=FLAG)],
    "regex_replace": [
        case("x | regex_replace(p, r, ignorecase=i)", x=TEXTS, p=PATTERN, r=WORD | st.just("<\\1>"), i=FLAG),
        case("x | regex_replace('(a)', '\\1\\g<1>-', multiline=m, count=n)", x=TEXTS, m=FLAG, n=st.integers(0, 2)),
        case("x | regex_replace('a', 'b', mandatory_count=n)", x=TEXTS, n=st.integers(0, 2)),
    ],
    "regex_search": [
        case("x | regex_search(p, multiline=m, ignorecase=i)", x=TEXTS, p=PATTERN, m=FLAG, i=FLAG),
        case("x | regex_search('(?P<n>a)(b)?', '\\2', '\\g<n>')", x=TEXTS),
        case("x | regex_search('a', y)", x=TEXTS, y=WORD | st.sampled_from(["\\0", "\\9", "\\g<no>", "\\"])),
    ],
    "reject": [case("x | reject('equalto', 1) | list", x=LISTS), case("x | reject | list", x=LISTS)],
    "rejectattr": [
        case("x | rejectattr('a') | list", x=LISTS),
        case("x | rejectattr('a', 'defined') | list", x=st.lists(DICT, max_size=3)),
    ],
    "rekey_on_member": [
        case(
            "x | rekey_on_member(k, duplicates=d)",
            x=LISTS | DICTS,
            k=KEY,
            d=st.sampled_from(["error", "overwrite", "x"]),
        ),
        case("x | rekey_on_member('a')", x=st.lists(st.fixed_dictionaries({"a": SCALAR}), max_size=3)),
    ],
    "relpath": [case("x | relpath(y)", x=st.sampled_from(["/a/b", "/a", "/"]), y=st.sampled_from(["/a", "/c/d", "/"]))],
    "root": [case("x | root", x=NUMBERS), case("x | root(b)", x=NUMBERS, b=NUMBERS)],
    "select": [
        case("x | select('string') | list", x=LISTS),
        case("x | select | list", x=LISTS),
        case("x | select('match', p) | list", x=LISTS, p=PATTERN),
        case("x | select('defined') | list | length", x=LISTS),
        case("x | select('in', y) | list", x=LISTS, y=LISTS),
    ],
    "selectattr": [
        case("x | selectattr(a, 'equalto', v) | list", x=LISTS, a=ATTRIBUTES, v=SCALAR),
        case("x | selectattr('a', 'contains', v) | map(attribute='b') | list", x=st.lists(DICT, max_size=3), v=SCALAR),
    ],
    "sha1": [case("x | sha1", x=ANY)],
    "shuffle": [case("x | shuffle(seed=s)", x=LISTS, s=st.integers(1, 9) | st.sampled_from(["a", "b"]))],
    "split": [case("x | split", x=TEXTS), case("x | split(y, n)", x=TEXTS, y=WORD, n=st.integers(-1, 2))],
    "splitext": [case("x | splitext", x=PATH)],
    "strftime": [
        case("f | strftime(x, utc=u)", f=st.sampled_from(["%Y-%m-%d %H:%M:%S", "%s", "%j %U", "x"]), x=EPOCH, u=FLAG)
    ],
    "subelements": [
        case("x | subelements(k, skip_missing=s)", x=LISTS | DICTS, k=ATTRIBUTES | st.lists(KEY, max_size=2), s=FLAG),
        case("x | subelements('a')", x=st.lists(st.fixed_dictionaries({"a": st.lists(LATE, max_size=2)}), max_size=2)),
    ],
    "symmetric_difference": [case("x | symmetric_difference(y)", **SETS)],
    "ternary": [
        case("x | ternary(y, z)", x=ANY, y=ANY, z=ANY),
        case("x | ternary(nope, z, y)", x=SCALAR, y=ANY, z=ANY),
    ],
    "to_datetime": [
        case("x | to_datetime", x=st.sampled_from(["2020-01-02 03:04:05", "2020-01-02", "x"])),
        case(
            "(x | to_datetime('%Y') - y | to_datetime('%Y')).days",
            x=st.sampled_from(["2020", "1999", "x"]),
            y=st.just("2000"),
        ),
        case("(x | to_datetime('%Y')).strftime('%d.%m.%y')", x=st.sampled_from(["2020", "1999"])),
    ],
    "to_json": [
        case("x | to_json", x=ANY),
        case("x | to_json(sort_keys=s, ensure_ascii=e, indent=n)", x=ANY, s=FLAG, e=FLAG, n=st.sampled_from([None, 1])),
        case("{1: x, none: y, true: 2} | to_json", x=ANY, y=ANY),
        case("'2020' | to_datetime('%Y') | to_json"),
    ],
    "to_nice_json": [case("x | to_nice_json", x=ANY), case("x | to_nice_json(indent=2, sort_keys=false)", x=ANY)],
    "to_nice_yaml": [
        case("x | to_nice_yaml", x=ANY | LONG),
        case("x | to_nice_yaml(indent=2, sort_keys=s)", x=ANY, s=FLAG),
    ],
    "to_uuid": [case("x | to_uuid", x=TEXTS), case("x | to_uuid(namespace=n)", x=TEXTS, n=TEXTS)],
    "to_yaml": [
        case("x | to_yaml", x=ANY),
        case("x | to_yaml(default_flow_style=f, width=w)", x=LONG, f=FLAG, w=st.sampled_from([-1, 5, 20])),
    ],
    "type_debug": [case("x | type_debug", x=ANY), case("(x, x.a, x | list) | map('type_debug') | list", x=ANY)],
    "union": [case("x | union(y)", **SETS)],
    "unique": [
        case("x | unique", x=LISTS),
        case("x | unique(case_sensitive=c)", x=LISTS, c=FLAG),
        case("x | unique(attribute='a')", x=LISTS | st.lists(DICT, max_size=3)),
    ],
    "urldecode": [case("x | urldecode", x=TEXTS | st.just("a%20b+c%zz%c3%a9"))],
    "urlsplit": [
        case("x | urlsplit", x=mostly(URL, TEXT | NUMBER)),
        case("x | urlsplit(q)", x=URL, q=st.sampled_from(["hostname", "port", "query", "no"])),
    ],
    "win_basename": [case("x | win_basename", x=WINDOWS)],
    "win_dirname": [case("x | win_dirname", x=WINDOWS)],
    "win_splitdrive": [case("x | win_splitdrive", x=WINDOWS)],
    "zip": [case("x | zip(y)", x=LISTS, y=LISTS), case("x | zip(y, y) | list", x=LISTS, y=LISTS)],
    "zip_longest": [case("x | zip_longest(y, fillvalue=z)", x=LISTS, y=LISTS, z=ANY)],
}

# Jinja2's own, and operators: the same code on both sides, but on containers of this collection's own.
JINJA: list[Case] = [
    *(
        case("x | %s" % name, x=LISTS)
        for name in ("first", "last", "length", "list", "sort", "sum", "min", "max", "join", "reverse")
    ),
    *(case("x | %s | list" % name, x=DICTS) for name in ("dictsort", "items", "list", "batch(2)", "slice(2)")),
    *(case("x | %s" % name, x=ANY) for name in ("string", "int", "float", "tojson", "length", "abs", "upper")),
    *(case("x | %s" % name, x=TEXTS) for name in ("trim", "replace('a', 'b')", "wordcount", "indent", "title", "e")),
    *(case("x %s y" % name, x=ANY, y=ANY) for name in ("+", "~", "==", "!=", "<", ">=", "and", "or", "in", "not in")),
    *(case("x %s y" % name, x=LISTS, y=LISTS) for name in ("+", "==", "<", ">")),
    case("x * n", x=LISTS | TEXTS, n=st.integers(-1, 3)),
    case("x[y]", x=LISTS | DICTS | TEXTS, y=st.integers(-5, 5) | KEY),
    case("x[1:]", x=LISTS | TEXTS),
    case("x.a.b", x=DICTS),
    case("x.get('a', y)", x=DICTS, y=SCALAR),
    case("x.pop('a')", x=DICTS),
    case("x.pop()", x=LISTS),
    case("x.copy()", x=LISTS | DICTS),
    case("x.values() | list", x=DICTS),
    case("x.items() | map('first') | list", x=DICTS),
    case("x.index(y)", x=LISTS, y=SCALAR),
    case("x.append(y) or x", x=LISTS, y=ANY),
    case("x.update(y) or x", x=DICTS, y=DICTS),
    case("x.setdefault('a', y)", x=DICTS, y=SCALAR),
    case("dict(x, **y)", x=DICTS, y=DICTS),
    case("dict(x)", x=ANY),
    case("[x, y, [x]] | list", x=ANY, y=ANY),
    case("(x, y)[0]", x=ANY, y=ANY),
    case("{'a': x, 'b': {'c': y}}", x=ANY, y=ANY),
    case("y if x else x", x=ANY, y=ANY),
    case("x is %s" % " and x is ".join(("defined", "mapping", "iterable")), x=ANY),
    *(
        case("x is %s" % name, x=ANY)
        for name in ("sequence", "string", "number", "none", "true", "callable", "sameas(1)")
    ),
    case("' '.join(x)", x=LISTS),
    case("'%s %s' % (x, y)", x=ANY, y=ANY),
    case("'{0} {1}'.format(x, y)", x=ANY, y=ANY),
]
# Statements, with text around them.
STATEMENTS = [
    case("{% for item in x %}{{ item }},{% endfor %}", x=LISTS),
    case("{% for item in x %}{{ loop.index }}{{ item.a | default('-') }}{% endfor %}", x=LISTS),
    case("{% for k, v in x.items() %}{{ k }}={{ v }};{% endfor %}", x=DICTS),
    case("{% set y = x %}{{ y }}", x=ANY),
    case("a {{ x }} {{ x }}", x=ANY),
    case("{{ x }}{{ y }}", x=ANY, y=ANY),
    case("{% if x %}{{ x }}{% endif %}", x=ANY),
    case("{% macro m(v) %}<{{ v }}>{% endmacro %}{{ m(x) }}", x=ANY),
]

MATCHES = [
    case("x is {name}(p, ignorecase=i, multiline=m)", x=TEXTS, p=PATTERN, i=FLAG, m=FLAG),
]
TESTS: dict[str, list[Case]] = {
    **{
        name: [
            case("x is {name}", x=RESULT),
            case("x is not {name}", x=RESULT),
            case("[x] | select('{name}') | list", x=RESULT),
        ]
        for name in [
            "failed",
            "failure",
            "succeeded",
            "success",
            "successful",
            "changed",
            "change",
            "skipped",
            "skip",
            "started",
            "finished",
            "timedout",
            "reachable",
            "unreachable",
        ]
    },
    **{name: [case("x is {name}(y)", x=LISTS, y=LISTS)] for name in ["subset", "issubset", "superset", "issuperset"]},
    **{name: [case("x is {name}", x=NUMBERS)] for name in ("nan", "isnan")},
    **{name: [case("x is {name}", x=mostly(URL)), case("x is {name}(['http'])", x=URL)] for name in ("uri", "url")},
    **{name: [case("x is {name}", x=PATH)] for name in ("abs", "is_abs")},
    **dict.fromkeys(("match", "search"), MATCHES),
    **{
        name: [
            case(
                "x is {name}(y, o, version_type=k)",
                x=VERSION,
                y=VERSION,
                o=st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "lt", "ge", "eq", "=", "<>", "no"]),
                k=st.sampled_from([None, "loose", "strict", "semver", "semantic", "pep440", "no"]),
            ),
            case("x is {name}(y, '<', strict=s)", x=VERSION, y=VERSION, s=FLAG),
            case("x is {name}(y, '>', version_type='pep440')", x=VERSION, y=VERSION),
            case("x is {name}(y, '>', version_type='semver')", x=VERSION, y=VERSION),
        ]
        for name in ("version", "version_compare")
    },
    "regex": [
        *MATCHES,
        case("x is regex(p, match_type=k)", x=TEXTS, p=PATTERN, k=st.sampled_from(["match", "fullmatch", "no"])),
    ],
    "urn": [case("x is urn", x=URL)],
    "all": [case("x is all", x=LISTS)],
    "any": [case("x is any", x=LISTS)],
    "contains": [case("x is contains(y)", x=LISTS | DICTS | TEXTS, y=SCALAR)],
    "defined": [case("x.a is defined", x=DICTS), case("x is defined", x=ANY), case("x[0].a.b is not defined", x=ANY)],
    "undefined": [case("x.a is undefined", x=DICTS), case("(1 / x) is undefined", x=NUMBERS)],
    "truthy": [
        case("x is truthy", x=ANY),
        case("x is truthy(convert_bool=true)", x=SCALAR | st.sampled_from(["no", "Y", "t "])),
    ],
    "falsy": [case("x is falsy", x=ANY), case("x is falsy(true)", x=SCALAR | st.sampled_from(["no", "Y", "f "]))],
}
# These make sets on their way: their order is the order of hashes.
UNORDERED = ("difference", "intersect", "symmetric_difference", "union")
CASES = [
    *((name, text, variables) for name, cases in FILTERS.items() for text, variables in cases),
    *((name, text.replace("{name}", name), variables) for name, cases in TESTS.items() for text, variables in cases),
    *(("jinja2", text, variables) for text, variables in JINJA),
    *(("statement", text, variables) for text, variables in STATEMENTS),
]


def test_there_is_a_case_of_each_filter_and_test() -> None:
    assert set(FILTERS) == KNOWN_FILTERS
    assert set(TESTS) == KNOWN_TESTS


@pytest.mark.parametrize("version", HOSTS)
def test_a_python_of_hosts_takes_part(version: str, hosts: list[t.Any]) -> None:
    if version not in comparison.interpreters(version):
        pytest.skip(f"no Python {version} on this machine: nothing is compared with what it makes of expressions")
    assert f"Python {version}" in [host.name for host in hosts]


def seen(answer: comparison.Answer, ordered: bool) -> str:
    if "refused" in answer:
        return "refused"
    return answer["value"] if ordered else "".join(sorted(answer["value"]))


@pytest.mark.parametrize(
    ("name", "text", "variables"), CASES, ids=[f"{name}: {text}" for name, text, _variables in CASES]
)
def test_a_value_is_the_one_of_core(
    name: str, text: str, variables: dict[str, st.SearchStrategy[t.Any]], hosts: list[t.Any]
) -> None:
    @settings(
        max_examples=EXAMPLES,
        derandomize=not FULL,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.fixed_dictionaries(variables))
    def compare(given: dict[str, t.Any]) -> None:
        template = text if name == "statement" else "{{ %s }}" % text
        expected = comparison.of_core(template, given)
        for host in hosts:
            found = host.ask(comparison.request(template, given))
            ordered = name not in UNORDERED
            assert seen(found, ordered) == seen(expected, ordered), (host.name, template, given, expected, found)

    compare()
