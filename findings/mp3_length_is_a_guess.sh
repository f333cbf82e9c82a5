#!/usr/bin/env bash
# The length that libsndfile gives for an MP3 may be eight times what it decodes, and nothing says so. Encoders put a frame
# before the sound that counts the others (Xing, Info); recordings of streams, and files that were cut or joined without
# being encoded anew, have none. libsndfile then takes the bit rate of the first frame for that of all: a file that begins
# in silence, which variable and average rates store in tiny frames, is promised many times its length. One would expect
# the count to be exact, as it is for every other container, or the open-ended value that others give.
# It meets whoever compares promised with decoded samples to find cut files (whole ones are refused), allocates by
# SoundFile.frames, or sums durations of a corpus without decoding it. Constant rates are exact but for the padding.
# Seen with soundfile 0.14.0, which carries libsndfile 1.2.2, numpy 2.4.6. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet soundfile==0.14.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import numpy as np
import soundfile

assert soundfile.__libsndfile_version__ == "1.2.2", soundfile.__libsndfile_version__
rate, seconds = 16_000, 20
sound = np.random.default_rng(0).normal(0, 0.1, rate * seconds)
sound[: rate * 5] = 0
for mode in ("CONSTANT", "VARIABLE", "AVERAGE"):
    with soundfile.SoundFile("counted.mp3", "w", rate, 1, format="MP3", bitrate_mode=mode, compression_level=0.5) as file:
        file.write(sound)
    content = open("counted.mp3", "rb").read()
    open("bare.mp3", "wb").write(content[content.index(content[:2], 4) :])  # without its first frame, which counts
    lengths = []
    for name in ("counted.mp3", "bare.mp3"):
        with soundfile.SoundFile(name) as file:
            lengths.append((file.frames, len(file.read())))
    (counted, heard), (promised, decoded) = lengths
    print(f"{mode}: counted {counted}, decoded {heard}; bare {promised}, decoded {decoded}: {promised / decoded:.2f} times")
    assert counted == heard == len(sound)
    assert 0 <= decoded - len(sound) < 2 * 1152
    assert (promised == decoded) if mode == "CONSTANT" else promised > 2 * decoded
PYTHON
