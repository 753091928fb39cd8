"""LitServe around onnxruntime, the cheapest engine it can be given.

``BATCH`` above 1 lets it score what arrived within a millisecond in one call.
"""

import os
from pathlib import Path

import litserve
import numpy as np
import onnxruntime

BATCH = int(os.environ.get("BATCH", "1"))
BATCH_SECONDS = 0.001


class Scorer(litserve.LitAPI):
    """Serves the exported model."""

    def setup(self, device):
        """Load the model, on one thread."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        model = Path(os.environ["MODEL_FOLDER"]) / "model.onnx"
        self.session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )

    def decode_request(self, request):
        """Numbers and categories of one row."""
        return request["numbers"], request["categories"]

    def batch(self, inputs):
        """Rows to one input."""
        numbers, categories = zip(*inputs, strict=True)
        return numbers, categories

    def predict(self, rows):
        """Probabilities of the positive class, [n]."""
        numbers = np.asarray(rows[0], np.float32)
        categories = np.asarray(rows[1], object)
        one = numbers.ndim == 1
        feed = {"numbers": np.atleast_2d(numbers), "categories": np.atleast_2d(categories)}
        found = self.session.run(["probabilities"], feed)[0][:, 1].tolist()
        return found[0] if one else found

    def unbatch(self, output):
        """One probability a row."""
        return output

    def encode_response(self, output):
        """As JSON."""
        return {"probability": output}


if __name__ == "__main__":
    api = Scorer(max_batch_size=BATCH, batch_timeout=BATCH_SECONDS if BATCH > 1 else 0.0)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
    )
