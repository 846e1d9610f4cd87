#!/usr/bin/env bash
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The patterns that do something else on localhost than on a host, and one of the others. The scenario `patterns` runs all of
# them on hosts, and the target `patterns` all of them here.

set -eu -o pipefail

exec ../patterns/runme.sh ad_hoc rolling_hosts start_and_wait database_dumps package_upgrade rolling_reboot service_restarts
