"""
Runs commands of the real aws program without starting Python for each: a process that has awscli loaded forks for
every job. Started by aws-command.ts; its interpreter is that of the aws program.

    aws-driver.py FOLDER

A line of the FIFO FOLDER/requests is the path of a job: a folder with the files `arguments` and `environment`, both
ended by NUL bytes item by item, and the FIFO `end`, which gets the exit code. What the command says goes to the files
`stdout` and `stderr`. We end when our standard input does.
"""

import contextlib
import gc
import io
import os
import select
import signal
import sys
import traceback

BEFORE = frozenset(os.environ)

import awscli.clidriver

# Where its files are, for example.
OWN = {name: value for name, value in os.environ.items() if name not in BEFORE}


def run_aws(arguments):
    sys.argv = ["aws", *arguments]
    try:
        return awscli.clidriver.main()
    except SystemExit as end:
        return end.code


def load():
    """What commands load lazily: it gets as far as the endpoint, which is none."""
    for words in (["rds", "describe-db-proxies"], ["secretsmanager", "list-secrets"]):
        place = ["--region", "us-east-1", "--no-sign-request", "--endpoint-url", "none"]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            run_aws([*place, *words])
    # The garbage collector of a child leaves alone what they share.
    gc.collect()
    gc.freeze()


def items(path):
    with open(path, "rb") as file:
        return [os.fsdecode(item) for item in file.read().split(b"\0")[:-1]]


def redirect(descriptor, path, flags):
    opened = os.open(path, flags, 0o600)
    os.dup2(opened, descriptor)
    os.close(opened)


def run_job(job):
    code = 255
    try:
        redirect(0, os.devnull, os.O_RDONLY)
        redirect(1, os.path.join(job, "stdout"), os.O_WRONLY | os.O_CREAT)
        redirect(2, os.path.join(job, "stderr"), os.O_WRONLY | os.O_CREAT)
        os.environ.clear()
        os.environ.update(OWN)
        for item in items(os.path.join(job, "environment")):
            name, _, value = item.partition("=")
            os.environ[name] = value
        code = run_aws(items(os.path.join(job, "arguments"))) or 0
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:
        traceback.print_exc()
    finally:
        # Who asked has it open, unless it is gone.
        with contextlib.suppress(OSError):
            end = os.open(os.path.join(job, "end"), os.O_WRONLY | os.O_NONBLOCK)
            os.write(end, b"%d\n" % code)
        os._exit(0)


def serve(folder):
    # Both sides are ours, so that it has no end when somebody closes it.
    requests = os.open(os.path.join(folder, "requests"), os.O_RDWR)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    rest = ""
    while True:
        ready, _, _ = select.select([0, requests], [], [])
        if 0 in ready:
            return
        *jobs, rest = (rest + os.read(requests, select.PIPE_BUF).decode()).split("\n")
        for job in jobs:
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                run_job(job)


(_, FOLDER) = sys.argv
load()
serve(FOLDER)
