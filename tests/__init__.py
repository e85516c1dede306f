"""The tests. What the helpers assert is explained as in the tests themselves."""

import pytest

pytest.register_assert_rewrite("tests.support")
