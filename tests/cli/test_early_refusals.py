"""What is wrong with the arguments alone is said before torch is imported, which takes seconds."""

import json
import subprocess
import sys

REFUSALS = {
    "finetune --data rows.csv --model runs/gone": "runs/gone: no such folder",
    "finetune --data gone.csv": "gone.csv",
    "finetune --data rows.csv --text 无": "无",
    "finetune --task gone --data rows.csv": "gone",
    "finetune --data rows.csv --set speed=3": "speed",
    "finetune --data rows.csv --set dropout=2": "dropout",
    "finetune --data rows.csv --set label_smoothing=x": "label_smoothing",
    "finetune --data rows.csv --out rows.csv": "rows.csv",
    "predict --model runs/gone --text 好": "runs/gone: no such folder",
    "predict --model clue-bench-tiny --file gone.csv": "gone.csv: no such file",
    "predict --model clue-bench-tiny --file rows.doc": ".doc",
    "predict --model clue-bench-tiny --task gone --text 好": "gone",
    "predict --model clue-bench-tiny --split dev --data gone": "gone",
    "predict --model clue-bench-tiny --text 好 --out labels.doc": ".doc",
    "pretrain debug --corpus gone --out new": "gone",
    "pretrain gone --corpus gone --out new": "gone",
    "pretrain debug --corpus corpus --out new --from ./gone": "./gone: no such folder",
    "bench --model clue-bench-tiny --model runs/gone --data rows.csv": "runs/gone: no such folder",
    "bench --model clue-bench-tiny --data rows.csv --set speed=3": "speed",
    "bench --model clue-bench-tiny --data rows.csv --grid dropout=0,2": "dropout",
    "bench --model clue-bench-tiny --data rows.csv --intermediate gone": "gone",
    "serve --model runs/gone": "runs/gone: no such folder",
    "serve --model clue-bench-tiny --allow-host a]": "a]",
    "serve --model clue-bench-tiny --host 999.0.0.1": "999.0.0.1",
    "speed --model runs/gone": "runs/gone: no such folder",
    "speed --model debug --baseline base": "base",
    "speed --model debug --task gone": "gone",
    "speed --model debug --task c3": "c3",
    "speed --model debug --data gone": "gone",
    "speed --model debug --corpus gone": "gone",
    "speed --model debug --set steps=x": "steps",
    "generate --model runs/gone --prompt 好": "runs/gone: no such folder",
    "generate --model runs/gone --file gone.txt": "gone.txt",
    "predict --model clue-bench-tiny --file rows.csv --out rows.csv": "rows.csv: is read as well",
    "generate --model clue-bench-tiny --file rows.txt --out ./rows.jsonl": "rows.jsonl: is read as well",
    "vocab train rows.txt --out ./rows.txt": "rows.txt: is read as well",
    "vocab prune rows.txt --out rows.txt": "rows.txt: is read as well",
    "doctor runs/gone": "runs/gone: no such folder",
}
PROGRAM = """
import contextlib, io, json, sys
from clue_bench.cli import main
said = {}
for line in json.loads(sys.argv[1]):
    sys.argv = ["clue-bench", *line.split()]
    with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
            code = 0
        except SystemExit as error:
            code = error.code
    said[line] = [code, err.getvalue(), "torch" in sys.modules]
print(json.dumps(said))
"""


def test_refusals_that_need_no_model_come_before_torch(tmp_path, corpus_folder):
    (tmp_path / "rows.csv").write_text(
        "text,label\n" + "".join(f"{n}号,{'甲乙'[n % 2]}\n" for n in range(40)), encoding="utf-8"
    )
    (tmp_path / "rows.doc").write_text("一二", encoding="utf-8")
    (tmp_path / "rows.txt").write_text("一二三四五六七八\n", encoding="utf-8")
    (tmp_path / "rows.jsonl").symlink_to("rows.txt")
    (tmp_path / "runs").mkdir()
    (tmp_path / "corpus").symlink_to(corpus_folder)
    program = [sys.executable, "-c", PROGRAM, json.dumps(list(REFUSALS))]
    done = subprocess.run(program, capture_output=True, text=True, check=True, cwd=tmp_path)
    said = json.loads(done.stdout)
    late = {line: err for line, (code, err, _) in said.items() if code not in (1, 2) or REFUSALS[line] not in err}
    assert list(late.items())[:1] == []
    assert [line for line, (_, _, has_torch) in said.items() if has_torch][:1] == []
