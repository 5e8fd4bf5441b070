"""Drives a client that openapi-python-client made from /v1/openapi.json against a real server.

Its arguments: the folder that has the client as the package `made`, and the server's address.
"""

import sys
import time
import uuid
from datetime import datetime

folder, address = sys.argv[1:]
sys.path.insert(0, folder)

from made import Client  # noqa: E402
from made.api.baymodels import delete_v1_baymodels_ident, post_v1_baymodels  # noqa: E402
from made.api.bays import delete_v1_bays_ident, get_v1_bays, post_v1_bays  # noqa: E402
from made.api.containers import (  # noqa: E402
    delete_v1_containers_ident,
    get_v1_containers,
    get_v1_containers_detail,
    get_v1_containers_ident,
    post_v1_containers,
    put_v1_containers_ident_start,
)
from made.api.events import get_v1_events  # noqa: E402
from made.api.service import get_metrics, get_readyz  # noqa: E402
from made.models import (  # noqa: E402
    Container,
    ContainerStatus,
    ErrorBody,
    GetV1ContainersDetailStatus,
    NewBay,
    NewBaymodel,
    NewContainer,
)

# An answer that the document does not have is an error.
client = Client(base_url=address, raise_on_unexpected_status=True, timeout=60)


def ask(operation, *args, **kwargs):
    return operation.sync_detailed(*args, client=client, **kwargs)


model = ask(post_v1_baymodels, body=NewBaymodel(name="m", coe="swarm", image_id="i", keypair_id="k"))
assert model.status_code == 201, model
bay = ask(post_v1_bays, body=NewBay(name="shop", baymodel_id="m"))
assert bay.status_code == 201, bay
assert isinstance(bay.parsed.uuid, uuid.UUID), bay.parsed
assert isinstance(bay.parsed.created_at, datetime), bay.parsed

made = []
for name in ("web", "db"):
    new = NewContainer(name=name, image_id="busybox:local", bay_uuid=bay.parsed.uuid)
    answer = ask(post_v1_containers, body=new)
    assert answer.status_code == 201 and isinstance(answer.parsed, Container), answer
    made.append(answer.parsed)
assert ask(put_v1_containers_ident_start, "web").status_code == 200

page = ask(get_v1_containers, name="web").parsed.containers
assert [found.uuid for found in page] == [made[0].uuid], page
running = GetV1ContainersDetailStatus.RUNNING
page = ask(get_v1_containers_detail, status=running, limit=10).parsed.containers
assert [found.name for found in page] == ["web"], page
assert page[0].status == ContainerStatus.RUNNING and page[0].bay_uuid == bay.parsed.uuid, page

shown = ask(get_v1_containers_ident, "db").parsed
assert shown.status == ContainerStatus.STOPPED and shown.node_uuid, shown
assert ask(get_v1_bays, name="shop").parsed.bays[0].uuid == bay.parsed.uuid

for name in ("web", "db"):
    assert ask(delete_v1_containers_ident, name).status_code == 204
missing = ask(get_v1_containers_ident, "web")
assert missing.status_code == 404 and isinstance(missing.parsed, ErrorBody), missing
assert ask(delete_v1_bays_ident, "shop").status_code == 204
while ask(get_v1_bays, name="shop").parsed.bays:
    time.sleep(0.1)
assert ask(delete_v1_baymodels_ident, str(model.parsed.uuid)).status_code == 204

events = ask(get_v1_events, after="0", limit=1000).parsed.events
assert any(event.type_ == "magnum.container.started.v1" for event in events), events
assert all(isinstance(event.time, datetime) for event in events), events
assert ask(get_readyz).parsed.ready is True
assert "magnum_build_info" in ask(get_metrics).content.decode()
