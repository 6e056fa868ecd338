"""A fake of what no server here can be: OpenAI's audio, images, moderations, files and batches.

Every answer has the shape of OpenAI's published specification (github.com/openai/openai-openapi, `openapi.yaml`, API
version 2.3.0), by the name of its operation: `createSpeech`, `createTranscription` (`CreateTranscriptionResponseJson`),
`createTranslation`, `createImage` and `createImageEdit` (`ImagesResponse`), `createModeration`
(`CreateModerationResponse`), `createFile` (`OpenAIFile`), `listFiles`, `downloadFile`, `deleteFile`, `createBatch`
(`Batch`). It refuses a form as the specification's required fields say.
"""

import email
import email.policy
import http.server
import json
import threading

SOUND = bytes(range(256)) * 40
KEY = "sk-provider"


def part_of(content_type, body):
    """The parts of a form by name: text, or `(file name, bytes)`."""
    message = email.message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body, policy=email.policy.HTTP)
    parts = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        parts[name] = (part.get_filename(), content) if part.get_filename() else content.decode()
    return parts


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body, content_type="application/json", status=200):
        body = json.dumps(body).encode() if not isinstance(body, bytes) else body
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def read(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def handle_any(self):
        body = self.read()
        content_type = self.headers.get("Content-Type", "")
        form = content_type.startswith("multipart/form-data")
        asked = part_of(content_type, body) if form else json.loads(body or b"{}")
        self.server.seen.append((self.command, self.path, asked))
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            return self.answer({"error": {"message": "Incorrect API key provided.", "type": "invalid_request_error",
                                          "param": None, "code": "invalid_api_key"}}, status=401)
        path = self.path.split("?")[0]
        match (self.command, path):
            case ("POST", "/v1/audio/speech"):
                return self.answer(SOUND, "audio/mpeg")
            case ("POST", "/v1/audio/transcriptions" | "/v1/audio/translations"):
                name, sound = asked["file"]
                if asked.get("response_format") == "text":
                    return self.answer(f"{name} {len(sound)}\n".encode(), "text/plain; charset=utf-8")
                return self.answer({"text": f"{name} {len(sound)} {asked['model']}",
                                    "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 3, "total_tokens": 17}})
            case ("POST", "/v1/images/generations" | "/v1/images/edits"):
                return self.answer({"created": 1713833628, "data": [{"b64_json": "aW1hZ2U="}],
                                    "usage": {"total_tokens": 100, "input_tokens": 50, "output_tokens": 50,
                                              "input_tokens_details": {"text_tokens": 10, "image_tokens": 40}}})
            case ("POST", "/v1/moderations"):
                categories = ["harassment", "hate", "self-harm", "sexual", "violence"]
                return self.answer({"id": "modr-1", "model": asked["model"], "results": [{
                    "flagged": False, "categories": dict.fromkeys(categories, False),
                    "category_scores": dict.fromkeys(categories, 0.01),
                    "category_applied_input_types": {name: ["text"] for name in categories}}]})
            case ("POST", "/v1/files"):
                name, content = asked["file"]
                self.server.files["file-1"] = content
                return self.answer(self.file(name, len(content), asked["purpose"]))
            case ("GET", "/v1/files"):
                files = [self.file("input.jsonl", len(content), "batch") for content in self.server.files.values()]
                return self.answer({"object": "list", "data": files, "first_id": "file-1", "last_id": "file-1", "has_more": False})
            case ("GET", "/v1/files/file-1/content"):
                return self.answer(self.server.files["file-1"], "application/octet-stream")
            case ("DELETE", "/v1/files/file-1"):
                del self.server.files["file-1"]
                return self.answer({"id": "file-1", "object": "file", "deleted": True})
            case ("POST", "/v1/batches"):
                return self.answer({"id": "batch_1", "object": "batch", "endpoint": asked["endpoint"], "errors": None,
                                    "input_file_id": asked["input_file_id"], "completion_window": "24h",
                                    "status": "validating", "created_at": 1714508499,
                                    "request_counts": {"total": 0, "completed": 0, "failed": 0}})
        return self.answer({"error": {"message": f"Invalid URL ({self.command} {path})", "type": "invalid_request_error",
                                      "param": None, "code": None}}, status=404)

    @staticmethod
    def file(name, size, purpose):
        return {"id": "file-1", "object": "file", "bytes": size, "created_at": 1677610602, "filename": name,
                "purpose": purpose, "status": "processed"}

    do_GET = do_POST = do_DELETE = handle_any


class FakeOpenAI:
    """The fake, on a port of its own until `stop`; `seen` holds method, path and body of every request."""

    def __init__(self):
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.seen, self._server.files = [], {}
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def seen(self):
        return self._server.seen

    def provider(self, **more):
        """Its entry in the gateway's configuration."""
        url = f"http://127.0.0.1:{self._server.server_port}/v1"
        return {"dialect": "openai", "base_url": url, "api_key": KEY, "probe": {"enabled": False}, **more}

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
