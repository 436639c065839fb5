"""Names of everything that is written to disk or printed as JSON, with its version.

Another program may rely on every name here: event kinds and their fields, run states, file names, rows and results.
Readers accept unknown keys, so a new field needs no new version.
"""

from etabli.core.contracts.data import *  # noqa: F403
from etabli.core.contracts.evaluation import *  # noqa: F403
from etabli.core.contracts.export import *  # noqa: F403
from etabli.core.contracts.files import *  # noqa: F403
from etabli.core.contracts.memory import *  # noqa: F403
from etabli.core.contracts.review import *  # noqa: F403
from etabli.core.contracts.runs import *  # noqa: F403
from etabli.core.contracts.synthesis import *  # noqa: F403
