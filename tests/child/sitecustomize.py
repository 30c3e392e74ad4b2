"""Put on a child's path by the tests: there too the architecture "red" is the tiny network whose answer is known."""

import vsalient.models

vsalient.models.ARCHITECTURES["red"] = ("tiny_model", "RedNet")
