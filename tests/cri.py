"""A client of Kubernetes' Container Runtime Interface, as the kubelet is one.

    with Client(directory / "containerd.sock") as cri:
        pod = cri.RunPodSandbox(config={…}).pod_sandbox_id
        cri.ExecSync(container_id=…, cmd=["id"], timeout=10).stdout

A call of cri.proto takes the fields of its request by name, and gives its response.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

SERVICE = "RuntimeService"


class Client:
    def __init__(self, socket: Path) -> None:
        import grpc

        self.messages = grpc.protos("tests/cri.proto")
        self.methods = self.messages.DESCRIPTOR.services_by_name[SERVICE].methods_by_name
        self.channel = grpc.insecure_channel(f"unix://{socket}")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        from google.protobuf.json_format import ParseDict

        method = self.methods[name]
        request, response = (getattr(self.messages, kind.name)
                             for kind in (method.input_type, method.output_type))
        send = self.channel.unary_unary(
            f"/{method.containing_service.full_name}/{name}",
            request_serializer=request.SerializeToString, response_deserializer=response.FromString)
        return lambda **fields: send(ParseDict(fields, request()), timeout=60)
