# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change at any time.

"""Filters that read and write YAML. PyYAML comes in the archive where a script uses them, or the host has it."""

from __future__ import annotations

from ansible_collections.background.jobs.plugins.module_utils._late.containers import LazyDict, LazyList, LazyTuple
from ansible_collections.background.jobs.plugins.module_utils._late.failures import Failure
from ansible_collections.background.jobs.plugins.module_utils._late.markers import Marker, takes_marked
from ansible_collections.background.jobs.plugins.module_utils._late.values import Trusted


def _yaml():
    try:
        import yaml
    except ImportError:
        raise Failure("PyYAML is not there: it has to be installed on the host, or on the controller.") from None
    return yaml


def _dumper(yaml):
    class Dumper(yaml.SafeDumper):
        pass

    Dumper.add_representer(LazyDict, yaml.SafeDumper.represent_dict)
    Dumper.add_representer(LazyList, yaml.SafeDumper.represent_list)
    Dumper.add_representer(LazyTuple, yaml.SafeDumper.represent_list)
    Dumper.add_representer(Trusted, lambda dumper, text: dumper.represent_str(str(text)))
    Dumper.add_multi_representer(Marker, lambda dumper, marker: marker.trip())
    return Dumper


@takes_marked
def to_yaml(a, *dummy, **kwargs):
    kwargs.pop("vault_behavior", None)
    kwargs.setdefault("default_flow_style", None)
    yaml = _yaml()
    return yaml.dump(a, Dumper=_dumper(yaml), allow_unicode=True, **kwargs)


@takes_marked
def to_nice_yaml(a, indent=4, *dummy, **kwargs):
    kwargs.setdefault("default_flow_style", False)
    return to_yaml(a, indent=indent, **kwargs)


def from_yaml(data):
    if not isinstance(data, str):
        return data
    yaml = _yaml()
    return yaml.load(data, Loader=yaml.SafeLoader)


def from_yaml_all(data):
    if data is None:
        return []
    if not isinstance(data, str):
        return data
    yaml = _yaml()
    return yaml.load_all(data, Loader=yaml.SafeLoader)


FILTERS = {
    "from_yaml": from_yaml,
    "from_yaml_all": from_yaml_all,
    "to_nice_yaml": to_nice_yaml,
    "to_yaml": to_yaml,
}
