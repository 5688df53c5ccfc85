"""The stack of `cargo local` as a child process: started on free ports, used, and stopped."""

import http.client, os, re, signal, subprocess, threading, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PORTS = ["--port", "0", "--admin-port", "0", "--aws-port", "0"]


class Stack:
    """A running stack: its lines until it is ready, each with its time, and its addresses."""

    def __init__(self, command, seconds_max):
        self.lines, self.ready, self.began = [], threading.Event(), time.monotonic()
        # A process group of its own, so that a signal reaches cargo and the stack, and nothing else.
        self.process = subprocess.Popen(
            [*command, *PORTS], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        threading.Thread(target=self.read, daemon=True).start()
        try:
            if not self.ready.wait(seconds_max) or not self.find(r"Ready after"):
                raise SystemExit(f"the stack did not start within {seconds_max} s:\n" + self.tail())
            self.api, self.admin, self.aws = (self.find(rf"{name} +http://(\S+)")[1][1] for name in ("API", "admin", "AWS"))
        except BaseException:
            self.stop()
            raise

    def read(self):
        # Until the stack is ready, the lines are kept. Later there are some for each order, which must be read all the same.
        for line in self.process.stdout:
            if not self.ready.is_set():
                self.lines.append((time.monotonic(), line.rstrip()))
            # An empty line is after the development secrets.
            if not line.strip() and self.find("Development secrets"):
                self.ready.set()
        self.ready.set()

    def tail(self):
        return "\n".join(line for _, line in self.lines[-20:])

    def find(self, pattern):
        """Returns the time and the last match of the pattern."""
        found = [(at, match) for at, line in self.lines if (match := re.search(pattern, line))]
        return found[-1] if found else None

    def times(self):
        """Returns the milliseconds to the printed URL: from the command, and from the end of cargo's last build."""
        ready, finished = self.find(r"Ready after")[0], self.find(r"Finished `")
        return (ready - self.began) * 1_000, (ready - finished[0]) * 1_000 if finished else float("nan")

    def memory_mb(self):
        """Returns the memory of the stack and of its functions, with their share of common pages, and the functions' number."""
        # Each function has a process group of its own; the stack is in that of the command.
        sizes = [(group(pid) == self.process.pid, pss_kb(pid) / 1_024) for pid in family(self.process.pid)]
        functions = [size for is_stack, size in sizes if not is_stack]
        return sum(size for is_stack, size in sizes if is_stack), sum(functions), len(functions)

    def stop(self):
        for sent in (signal.SIGINT, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, sent)
                self.process.wait(20)
                return
            except subprocess.TimeoutExpired:
                continue
            except ProcessLookupError:
                return


def family(pid):
    """Returns the process and its descendants."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(member for child in children for member in family(child))]


def group(pid):
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def pss_kb(pid):
    try:
        return int(re.search(r"^Pss: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)[1])
    except (OSError, TypeError):
        return 0


def call(address, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text
