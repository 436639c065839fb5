"""Names of everything that is written to disk or printed as JSON, with its version.

Another program may rely on every name here: event kinds and their fields, run states, file names, rows and results.
Readers accept unknown keys, so a new field needs no new version.
"""

from etabli.core.contracts.data import (
    DECISION_KINDS as DECISION_KINDS,
)
from etabli.core.contracts.data import (
    ROLES as ROLES,
)
from etabli.core.contracts.data import (
    SEVERITIES as SEVERITIES,
)
from etabli.core.contracts.data import (
    CheckInfo as CheckInfo,
)
from etabli.core.contracts.data import (
    CheckReport as CheckReport,
)
from etabli.core.contracts.data import (
    CurationSummary as CurationSummary,
)
from etabli.core.contracts.data import (
    Decision as Decision,
)
from etabli.core.contracts.data import (
    FileFormat as FileFormat,
)
from etabli.core.contracts.data import (
    Finding as Finding,
)
from etabli.core.contracts.data import (
    Lens as Lens,
)
from etabli.core.contracts.data import (
    LensRow as LensRow,
)
from etabli.core.contracts.data import (
    Message as Message,
)
from etabli.core.contracts.data import (
    NotRun as NotRun,
)
from etabli.core.contracts.data import (
    Reason as Reason,
)
from etabli.core.contracts.data import (
    Row as Row,
)
from etabli.core.contracts.data import (
    TrainingCost as TrainingCost,
)
from etabli.core.contracts.evaluation import (
    ALL as ALL,
)
from etabli.core.contracts.evaluation import (
    ARMS as ARMS,
)
from etabli.core.contracts.evaluation import (
    UNSEEN as UNSEEN,
)
from etabli.core.contracts.evaluation import (
    Ablation as Ablation,
)
from etabli.core.contracts.evaluation import (
    AblationArm as AblationArm,
)
from etabli.core.contracts.evaluation import (
    AblationDifference as AblationDifference,
)
from etabli.core.contracts.evaluation import (
    AnsweredRow as AnsweredRow,
)
from etabli.core.contracts.evaluation import (
    Comparison as Comparison,
)
from etabli.core.contracts.evaluation import (
    Difference as Difference,
)
from etabli.core.contracts.evaluation import (
    Estimate as Estimate,
)
from etabli.core.contracts.evaluation import (
    Flips as Flips,
)
from etabli.core.contracts.evaluation import (
    Metric as Metric,
)
from etabli.core.contracts.evaluation import (
    RescoredResults as RescoredResults,
)
from etabli.core.contracts.evaluation import (
    Rescoring as Rescoring,
)
from etabli.core.contracts.evaluation import (
    Results as Results,
)
from etabli.core.contracts.evaluation import (
    Score as Score,
)
from etabli.core.contracts.files import (
    ABLATION as ABLATION,
)
from etabli.core.contracts.files import (
    ADAPTER as ADAPTER,
)
from etabli.core.contracts.files import (
    CHAT as CHAT,
)
from etabli.core.contracts.files import (
    CHECKPOINTS as CHECKPOINTS,
)
from etabli.core.contracts.files import (
    DATASET as DATASET,
)
from etabli.core.contracts.files import (
    DECISIONS as DECISIONS,
)
from etabli.core.contracts.files import (
    EVENTS as EVENTS,
)
from etabli.core.contracts.files import (
    LOCK as LOCK,
)
from etabli.core.contracts.files import (
    LOG as LOG,
)
from etabli.core.contracts.files import (
    MANIFEST as MANIFEST,
)
from etabli.core.contracts.files import (
    PINS as PINS,
)
from etabli.core.contracts.files import (
    PROCESS as PROCESS,
)
from etabli.core.contracts.files import (
    RECIPE as RECIPE,
)
from etabli.core.contracts.files import (
    REJECTED_ROWS as REJECTED_ROWS,
)
from etabli.core.contracts.files import (
    RESULTS as RESULTS,
)
from etabli.core.contracts.files import (
    ROWS as ROWS,
)
from etabli.core.contracts.files import (
    STOP as STOP,
)
from etabli.core.contracts.files import (
    TEMPLATE as TEMPLATE,
)
from etabli.core.contracts.files import (
    TOKEN_DIFF as TOKEN_DIFF,
)
from etabli.core.contracts.files import (
    VERDICT as VERDICT,
)
from etabli.core.contracts.files import (
    VERSION as VERSION,
)
from etabli.core.contracts.files import (
    VOTES as VOTES,
)
from etabli.core.contracts.memory import (
    GpuMemory as GpuMemory,
)
from etabli.core.contracts.memory import (
    LargestSetup as LargestSetup,
)
from etabli.core.contracts.memory import (
    MemoryAdvice as MemoryAdvice,
)
from etabli.core.contracts.memory import (
    MemoryForecast as MemoryForecast,
)
from etabli.core.contracts.memory import (
    PeakMemory as PeakMemory,
)
from etabli.core.contracts.review import (
    CHOICES as CHOICES,
)
from etabli.core.contracts.review import (
    ArenaItem as ArenaItem,
)
from etabli.core.contracts.review import (
    ArenaReport as ArenaReport,
)
from etabli.core.contracts.review import (
    ChatAnswer as ChatAnswer,
)
from etabli.core.contracts.review import (
    ChatEntry as ChatEntry,
)
from etabli.core.contracts.review import (
    ChatHistory as ChatHistory,
)
from etabli.core.contracts.review import (
    Pin as Pin,
)
from etabli.core.contracts.review import (
    ProbeAnswer as ProbeAnswer,
)
from etabli.core.contracts.review import (
    ProbeAnswers as ProbeAnswers,
)
from etabli.core.contracts.review import (
    ProbeHistory as ProbeHistory,
)
from etabli.core.contracts.review import (
    Reveal as Reveal,
)
from etabli.core.contracts.review import (
    TokenDiffRow as TokenDiffRow,
)
from etabli.core.contracts.review import (
    TokenDiffs as TokenDiffs,
)
from etabli.core.contracts.review import (
    TokenMoves as TokenMoves,
)
from etabli.core.contracts.review import (
    Vote as Vote,
)
from etabli.core.contracts.review import (
    VoteProgress as VoteProgress,
)
from etabli.core.contracts.review import (
    VoteResults as VoteResults,
)
from etabli.core.contracts.runs import (
    END_STATES as END_STATES,
)
from etabli.core.contracts.runs import (
    EVENT_FIELDS as EVENT_FIELDS,
)
from etabli.core.contracts.runs import (
    HEARTBEAT_SECONDS as HEARTBEAT_SECONDS,
)
from etabli.core.contracts.runs import (
    STATES as STATES,
)
from etabli.core.contracts.runs import (
    Check as Check,
)
from etabli.core.contracts.runs import (
    Continuity as Continuity,
)
from etabli.core.contracts.runs import (
    DeviceOwner as DeviceOwner,
)
from etabli.core.contracts.runs import (
    Export as Export,
)
from etabli.core.contracts.runs import (
    Overlay as Overlay,
)
from etabli.core.contracts.runs import (
    Points as Points,
)
from etabli.core.contracts.runs import (
    ProcessIdentity as ProcessIdentity,
)
from etabli.core.contracts.runs import (
    RateRange as RateRange,
)
from etabli.core.contracts.runs import (
    RunProgress as RunProgress,
)
