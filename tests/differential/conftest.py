# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
import peers  # noqa: E402 (found through the line above)


def pytest_collection_modifyitems(items):
    """Without a Consul one skip says why, not one for each test."""
    ours = [i for i in items if HERE in i.path.parents]
    path, why = peers.find_consul()
    if path or not ours:
        return
    items[:] = [i for i in items if i not in ours[1:]]
    ours[0].add_marker(pytest.mark.skip(reason=why))
