"""The tape reuses memory and reads its inputs anew."""

from __future__ import annotations

import torch

from rl_core.fused.recorder import Tape


def test_tape_hands_out_freed_memory_again() -> None:
    tape, like = Tape(), torch.zeros(1)
    first = tape.buffer(like, 2, 3)
    tape.free(first)
    assert tape.buffer(like, 6).data_ptr() == first.data_ptr()
    assert tape.buffer(like, 6).data_ptr() != first.data_ptr()


def test_tape_writes_where_it_wrote_and_reads_anew() -> None:
    tape, x = Tape(), torch.tensor([1.0, -2.0])
    double = tape(torch.mul, x, 2)
    room = torch.empty(2)
    assert tape(torch.add, double, x, out=room) is room
    rough = tape.cast(room, torch.bfloat16)
    assert tape.cast(room, torch.float32) is room
    assert room.tolist() == rough.tolist() == [3.0, -6.0]
    x.copy_(torch.tensor([-1.0, 4.0]))
    tape.run()
    assert room.tolist() == rough.tolist() == [-3.0, 12.0]
