"""STS3215 servos on a bus in a pseudo-terminal: Feetech's protocol, their memory, and motors that obey duties."""

from __future__ import annotations

import os
import pty
import select
import threading
import time
import tty

PING, READ, WRITE, SYNC_READ, SYNC_WRITE, EVERYONE = 1, 2, 3, 0x82, 0x83, 0xFE
MODE, TORQUE, DUTY, POSITION, TEMPERATURE = 33, 40, 44, 56, 63
STALL, BACK_EMF, INERTIA = 2.94, 0.6, 0.03


class Servos:
    """Motors 1 to ``count``; ``port`` is the path of their bus.

    Attributes:
        ticks: {id: actual position}, before the homing offset that the motor holds.
        speed: {id: rad/s}.
        silent: whether nobody answers.
        garbled: whether every answer has a wrong checksum.
        lost, cut: how many of the next answers do not come, and how many are cut off.
    """

    def __init__(self, count: int = 6) -> None:
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self.port = os.ttyname(slave)
        self._slave = slave  # held open, so that the port outlives whoever opens it
        self.memory = {i: bytearray(256) for i in range(1, count + 1)}
        self.ticks, self.speed = dict.fromkeys(self.memory, 2048.0), dict.fromkeys(self.memory, 0.0)
        for i, memory in self.memory.items():
            memory[0:2], memory[3:5], memory[5] = bytes([3, 10]), (777).to_bytes(2, "little"), i
            memory[TEMPERATURE], memory[TORQUE] = 30 + i, 1  # they wake up stiff
        self.silent = self.garbled = False
        self.lost = self.cut = 0
        self.packets = 0
        self._then, self._lock = time.monotonic(), threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Unplug the bus."""
        self._ended.set()
        self._thread.join(2.0)
        os.close(self._master)
        os.close(self._slave)

    def duty(self, motor: int) -> float:
        """Share of the full duty that a motor is driven with now."""
        memory = self.memory[motor]
        if not memory[TORQUE] or memory[MODE] != 2:
            return 0.0
        word = int.from_bytes(memory[DUTY : DUTY + 2], "little")
        return (-1 if word >> 10 & 1 else 1) * min(word & 0x3FF, 1000) / 1000

    def set_word(self, motor: int, address: int, value: int) -> None:
        """Write two bytes of a motor's memory."""
        self.memory[motor][address : address + 2] = value.to_bytes(2, "little")

    def _serve(self) -> None:
        stream = bytearray()
        while not self._ended.is_set():
            if not select.select([self._master], [], [], 0.02)[0]:
                self._move()
                continue
            stream += os.read(self._master, 4096)
            while (start := stream.find(b"\xff\xff")) >= 0 and len(stream) >= start + 4:
                end = start + 4 + stream[start + 3]
                if len(stream) < end:
                    break
                packet = bytes(stream[start:end])
                del stream[:end]
                if ~sum(packet[2:-1]) & 0xFF == packet[-1]:
                    self._obey(packet[2], packet[4], packet[5:-1])

    def _obey(self, motor: int, instruction: int, given: bytes) -> None:
        self.packets += 1
        self._move()
        if instruction == SYNC_WRITE:
            address, size = given[0], given[1]
            for k in range(2, len(given), size + 1):
                self._keep(given[k], address, given[k + 1 : k + 1 + size])
        elif instruction == SYNC_READ:
            for each in given[2:]:
                self._answer(each, self._tell(each, given[0], given[1]))
        elif instruction == PING:
            for each in self.memory if motor == EVERYONE else [motor]:
                self._answer(each, b"")
        elif instruction == READ:
            self._answer(motor, self._tell(motor, given[0], given[1]))
        elif instruction == WRITE:
            self._keep(motor, given[0], given[1:])
            self._answer(motor, b"")

    def _keep(self, motor: int, address: int, values: bytes) -> None:
        if motor in self.memory:
            self.memory[motor][address : address + len(values)] = values

    def _tell(self, motor: int, address: int, size: int) -> bytes:
        return bytes(self.memory[motor][address : address + size]) if motor in self.memory else b""

    def _answer(self, motor: int, values: bytes) -> None:
        if self.silent or motor not in self.memory:
            return
        body = bytes([motor, len(values) + 2, 0]) + values
        check = ~sum(body) & 0xFF
        if self.lost:
            self.lost -= 1
            return
        packet = b"\xff\xff" + body + bytes([check ^ (1 if self.garbled else 0)])
        os.write(self._master, packet[: 3 if self.cut else None])
        self.cut = max(0, self.cut - 1)

    def _move(self) -> None:
        """Let the time pass that has passed."""
        now = time.monotonic()
        passed, self._then = min(now - self._then, 0.1), now
        for i, memory in self.memory.items():
            for _ in range(max(1, round(passed / 0.002))):
                step = passed / max(1, round(passed / 0.002))
                self.speed[i] += (STALL * self.duty(i) - BACK_EMF * self.speed[i]) / INERTIA * step
                self.ticks[i] += self.speed[i] * step * 4096 / 6.283185307
            offset = int.from_bytes(memory[31:33], "little")
            offset = -(offset & 0x7FF) if offset >> 11 & 1 else offset
            shown = round(self.ticks[i]) - offset
            self.set_word(i, POSITION, shown if shown >= 0 else -shown | 1 << 15)
