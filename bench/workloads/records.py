"""JSON written and read back, with and without the C accelerator's favourite shapes; regular expressions."""
import json
import re
import sys

record = {"id": 0, "name": "Zoë \"the\" cat", "tags": ["a", "bc", "déf"], "size": 1.5e-3, "deep": {"x": [None, True, -1]}}


def work(turn):
    records = [dict(record, id=turn * 1000 + i, size=i / 7) for i in range(500)]
    text = json.dumps(records, indent=1, sort_keys=True)
    back = json.loads(text)
    compact = json.dumps(back)
    numbers = re.findall(r'"size": (\d+\.\d+)', text)
    return len(text), len(compact), len(numbers), sum(map(float, numbers)), back[-1]["id"]


for turn in range(int(sys.argv[1])):
    answer = work(turn)
print(*answer)
