"""An OpenAI-compatible endpoint of our own on 127.0.0.1, with faults at random; it keeps the bill."""

import asyncio
import json
import random
import threading

FAULTS = ("429", "500", "html", "empty", "half", "hang up", "no choice", "refusal", "cut", "none")


class ChaosEndpoint:
    """``rate``: the share of requests that meet a fault. ``answer``: what it says to messages."""

    def __init__(self, answer=lambda messages, number: f"answer {number}", rate=0.0, delay=0.0, seed=0, faults=FAULTS):
        self.answer, self.rate, self.delay, self.faults = answer, rate, delay, faults
        self.chance = random.Random(seed)
        self.requests, self.paid, self.answered = 0, [0, 0], []
        self.headers, self.bodies = [], []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        self._server = server.result(10)
        self.address = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    def __exit__(self, *error):
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self):
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
                size = int({key.lower(): value for key, value in headers.items()}.get("content-length", 0))
                body = json.loads(await reader.readexactly(size) or b"{}")
                self.headers.append(headers)
                self.bodies.append(body)
                if self.delay:
                    await asyncio.sleep(self.delay)
                if not self._reply(writer, body):
                    break
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _reply(self, writer, body):
        self.requests += 1
        fault = self.chance.choice(self.faults) if self.chance.random() < self.rate else "none"
        if fault == "hang up":
            return False
        if fault in ("429", "500"):
            return self._send(writer, int(fault), b'{"error": {"message": "no"}}', extra="retry-after-ms: 1\r\n")
        if fault == "html":
            return self._send(writer, 200, b"<html>sign in</html>", kind="text/html")
        text = self.answer(body["messages"], self.requests)
        message, reason = {"role": "assistant", "content": text}, "stop"
        if fault == "empty":
            message["content"] = ""
        if fault == "refusal":
            message |= {"content": None, "refusal": "I can't help with that."}
        if fault == "cut":
            reason = "length"
        choices = [] if fault == "no choice" else [{"index": 0, "message": message, "finish_reason": reason}]
        usage = {
            "prompt_tokens": sum(len(turn["content"].split()) for turn in body["messages"]),
            "completion_tokens": 5,
        }
        content = json.dumps(
            {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": choices, "usage": usage}
        )
        if fault == "half":
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
                + content.encode()[:40]
            )
            return False
        self.paid[0] += usage["prompt_tokens"]
        self.paid[1] += usage["completion_tokens"]
        if fault == "none":
            self.answered.append(body["messages"][-1]["content"])
        return self._send(writer, 200, content.encode())

    def _send(self, writer, status, content, kind="application/json", extra=""):
        head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{extra}Content-Length: {len(content)}\r\n\r\n"
        writer.write(head.encode() + content)
        return True
