"""Extract features on every GPU: ``accelerate launch recipes/extract_features.py MANIFEST --out DIR``.

The same as ``gandistill extract`` on the device that accelerate gives each process. The processes are workers like any
others that write to DIR, on this machine or another that sees the folder: the feature set is the same to the byte.
"""

import argparse
import sys
from pathlib import Path

from accelerate import PartialState

from gandistill import console
from gandistill.errors import InputError, RunError
from gandistill.features.extract import ExtractConfig, extract
from gandistill.processes import leaving


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("manifest", type=Path, help="what 'gandistill prepare' wrote, or your own CSV")
    parser.add_argument("--out", type=Path, required=True, help="folder of the feature set")
    parser.add_argument("--upstream", help="logmel, hubert, whisper or s3prl:NAME")
    parser.add_argument("--config", type=Path, help="YAML, such as recipes/ravdess/logmel.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="such as hubert.layer=9")
    parser.add_argument("--skip-bad", action="store_true", help="leave out bad files, listed in quarantine.csv")
    given = parser.parse_args()
    upstream = [f"upstream={given.upstream}"] if given.upstream else []
    state = PartialState()
    try:
        config = ExtractConfig.load(given.config, [*upstream, *given.set])
        extract(given.manifest, config, given.out, given.skip_bad, state.device or "cpu")
    except (InputError, RunError) as error:
        console.say(str(error))
        return 2 if isinstance(error, InputError) else 1
    except OSError as error:
        console.say(f"{error.filename or 'the system'}: {error.strerror or error}")
        return 2
    return 0


if __name__ == "__main__":
    with leaving():
        sys.exit(main())
