"""File names of a run folder and of a Dataset folder, and the version of all formats."""

VERSION = 1

# --- the run folder -------------------------------------------------------------------------------------------------
RECIPE = "recipe.yaml"
TEMPLATE = "chat_template.jinja"  # the Jinja file that the recipe named, as it was when the run began
EVENTS = "events.jsonl"
PROCESS = "process.json"
LOG = "log.txt"
LOCK = "lock"
STOP = "stop"
CHECKPOINTS = "checkpoints"
ADAPTER = "adapter"
MANIFEST = "MANIFEST.json"
VERDICT = "verdict.json"
RESULTS = "results.json"
SEAL = "seal.json"  # what of the last seal: each exported form beside the judged model
ABLATION = "ablation.json"
VOTES = "votes"  # a folder with one append-only file for each voter
TOKEN_DIFF = "token_diff.json"
PINS = "pins.jsonl"  # steps that somebody marked in the training film; append-only
CHAT = "chat.jsonl"  # prompts that somebody typed, with the answers; append-only

# --- the Dataset folder ---------------------------------------------------------------------------------------------
ROWS = "rows.parquet"
REJECTED_ROWS = "rejected.parquet"  # rows that are not trained, with the reason
DECISIONS = "decisions.jsonl"  # decisions of people; append-only
DATASET = "manifest.json"
