import signal
import subprocess
import sys

import pytest
from absl import flags

from data_prep import flag_errors


@pytest.fixture
def values(monkeypatch):
    """Flags of all kinds, in place of those of the process."""
    values = flags.FlagValues()
    monkeypatch.setattr(flags, "FLAGS", values)
    flags.DEFINE_string("data", None, "", required=True, flag_values=values)
    flags.DEFINE_integer("rows", 1, "", lower_bound=1, flag_values=values)
    flags.DEFINE_float("rate", 0.5, "", flag_values=values)
    flags.DEFINE_bool("quick", False, "", flag_values=values)
    flags.DEFINE_enum("tower", "a", ["a", "b"], "", flag_values=values)
    return values


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--quick", "--data is missing."),
        ("--rows=x", "--rows=x: it must be an integer."),
        ("--rows=0", "--rows=0: 0 is not a positive integer"),
        ("--rate=x", "--rate=x: it must be a number."),
        ("--quick=x", "--quick=x: it must be true or false."),
        ("--tower=c", "--tower=c: value should be one of <a|b>"),
        ("--tempo=3", "Unknown command line flag 'tempo'"),
    ],
)
def test_a_mistake_is_a_line_and_status_one(values, argument, said, capsys):
    with pytest.raises(SystemExit) as ended:
        flag_errors.parse(["it", argument])
    assert ended.value.code == 1
    first, last = capsys.readouterr().err.splitlines()
    assert first == f"error: {said}"
    assert last == "--helpshort lists the flags."


def test_what_is_right_is_parsed(values):
    assert flag_errors.parse(["it", "--data=x", "word"]) == ["it", "word"]
    assert values.data == "x"


def test_the_system_is_quoted_without_its_numbers(tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        (tmp_path / "none" / "file").read_text()
    said = flag_errors.of_system(raised.value)
    assert said == f"{tmp_path}/none/file: No such file or directory."
    assert flag_errors.of_system(OSError("in use")) == "in use"


@pytest.mark.parametrize("flag", ["--help", "--helpfull"])
def test_a_reader_who_has_seen_enough_ends_it_in_silence(flag):
    command = f"{sys.executable} -m data_prep.table {flag}"
    ended = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -n 1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.startswith("Prepares your own click log")
    assert ended.stderr == ""
    # As other programs end there, or before head has closed the pipe.
    assert ended.returncode in (1, 128 + signal.SIGPIPE)


def test_what_is_printed_when_nobody_reads_ends_in_silence():
    code = (
        "from data_prep import flag_errors\n"
        "with flag_errors.closed_pipe_ends():\n"
        "    for _ in range(100_000):\n"
        "        print('a line')\n"
    )
    ended = subprocess.run(
        [
            "bash",
            "-c",
            f'set -o pipefail; {sys.executable} -c "$0" | head -n 1',
            code,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("a line\n", "")
    assert ended.returncode == 128 + signal.SIGPIPE


def test_another_pipe_that_breaks_is_an_error():
    with (
        pytest.raises(SystemExit, match=r"error: .*worker 3 died"),
        flag_errors.closed_pipe_ends(),
    ):
        raise BrokenPipeError(32, "worker 3 died")
