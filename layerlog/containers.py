"""What Store offers about containers."""

from __future__ import annotations

import os
from contextlib import ExitStack, nullcontext

from layerlog import change
from layerlog.contents import measured
from layerlog.core import Core
from layerlog.decide import containers as decide
from layerlog.decide import mapping as decide_mapping
from layerlog.decide.common import lookup, need
from layerlog.decide.lending import lowers
from layerlog.eventstore import disk
from layerlog.eventstore.errors import InvalidMappings
from layerlog.eventstore.ids import check_id, check_names, new_id
from layerlog.records import Container, Image, Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from layerlog.auto_userns import AutoUserNS
    from layerlog.eventstore.events import MapEntry


class ContainerMethods(Core):
    """Create, commit and delete containers."""

    def create_container(
        self,
        image: str | Record = "",
        *,
        id: str = "",
        names: Iterable[str] = (),
        name: str = "",
        metadata: str = "",
        label: str = "",
        uid_map: Sequence[MapEntry] = (),
        gid_map: Sequence[MapEntry] = (),
        host_uids: bool = False,
        host_gids: bool = False,
        userns: str | AutoUserNS = "",
        volatile: bool = False,
        layer: str = "",
        big_data: Mapping[str, bytes] | None = None,
        flags: dict[str, Any] | None = None,
    ) -> Container:
        """Make a container with a fresh layer on an image (or on *layer*, or on nothing). Durable on return.

        ID maps as in ``create_layer``; an image's top layer is copied under them once, where mounts cannot show it so.
        *userns*: ``auto``, or an AutoUserNS, takes IDs that no other container has (auto_userns.py).

        Raises ImageUnknown, LayerUnknown, DuplicateID, DuplicateContainerName, InvalidID, InvalidName.
        """
        self.must_write()
        if userns:
            from layerlog.auto_userns import AutoUserNS, chosen

            if isinstance(userns, str) and userns != "auto":
                raise InvalidMappings(f"userns={userns!r} is not auto")
            again: dict[str, Any] = {"id": id, "names": names, "name": name, "metadata": metadata, "label": label, "volatile": volatile}
            with chosen(self, _asked(image), userns if isinstance(userns, AutoUserNS) else AutoUserNS()) as found:
                again.update(found)
                return self.create_container(image, **again, layer=layer, big_data=big_data, flags=flags)
        container_id, layer_id = check_id(id) if id else new_id(), new_id()
        wanted = check_names([*([name] if name else []), *names])
        asked = _asked(image)
        fields: dict[str, Any] = {
            "metadata": metadata,
            "uid_map": list(uid_map),
            "gid_map": list(gid_map),
            "flags": {"MountLabel": label, "ProcessLabel": "", **({"Volatile": True} if volatile else {}), **(flags or {})},
        }
        top, maps = layer, None
        with self.reading() as rows:
            base = lookup(rows, "image", asked) if asked and not layer else None
            if base is not None and not uid_map and not gid_map and decide_mapping.image_is_mapped(rows, base):
                host_uids = host_gids = True  # who asks for no maps sees the host's IDs, whoever made the image
        with ExitStack() as stack:
            stack.enter_context(self._making(container_id, layer_id))
            if uid_map or gid_map or host_uids or host_gids:
                from layerlog.mapping import Asked, base_of_container, layer_maps, with_owners

                wish = Asked(uid_map, gid_map, host_uids, host_gids)
                if not self.retried():
                    with self.reading() as rows:  # a mistake is told before anything is copied
                        decide.create(rows, container_id, layer_id, asked, wanted, label, layer)
                top = layer or (base_of_container(self, asked, wish) if asked else "")
                over = self.layer_row(top) if top else None
                maps = layer_maps(self, over, wish)
                stack.enter_context(with_owners(self, layer_id, over, maps, "create-container"))
            items = stack.enter_context(self.stored(big_data, "container"))
            committed = change.commit(
                self,
                lambda rows: decide.create(rows, container_id, layer_id, asked, wanted, label, top, maps, big_data=items, **fields),
                f"create-container {asked} {id} {wanted}",
            )
        return Container(change.outcome(self, committed, "container", committed.events[-1]["id"]))

    def _making(self, container_id: str, layer_id: str) -> AbstractContextManager[object]:
        """What is kept besides the records of a container, until it has one."""
        return nullcontext()

    def delete_container(self, asked: str) -> None:
        """Delete a container and its layer, mounted or not. Durable on return; restorable within retention.

        Raises ContainerUnknown, Pinned, InUse.
        """
        self.must_write()
        kept = self.retention_seconds > 0
        with self.reading() as rows:
            container_id = need(rows, "container", asked)["id"]
        change.remove(self, lambda rows: decide.delete(rows, asked, kept), f"delete-container {asked}")
        self._remove_folders(container_id)

    def _remove_folders(self, container_id: str) -> None:
        import shutil

        for parent in (self.root, self.run_root):
            folder = os.path.join(parent, f"{self.driver_name}-containers", container_id)
            if os.path.isdir(folder):
                shutil.rmtree(folder)

    def container_dir(self, asked: str) -> str:
        """A folder that lives as long as the container (0700), made when first asked for."""
        return self._userdata(self.root, "containers", self.container(asked).id)

    def container_run_dir(self, asked: str) -> str:
        """The same below the run root: gone after a boot."""
        return self._userdata(self.run_root, "containers", self.container(asked).id)

    def image_dir(self, asked: str) -> str:
        """A folder that lives as long as the image (0700), made when first asked for."""
        return self._userdata(self.root, "images", self.image(asked).id)

    def image_run_dir(self, asked: str) -> str:
        """The same below the run root."""
        return self._userdata(self.run_root, "images", self.image(asked).id)

    def _userdata(self, parent: str, kind: str, item_id: str) -> str:
        folder = os.path.join(parent, f"{self.driver_name}-{kind}", item_id, "userdata")
        disk.make_folders(folder)
        return folder

    def container_size(self, asked: str) -> int:
        """Bytes of its own layer's diff, its big data and its two folders (contract/cli.md §5)."""
        found = self.container(asked)
        with self.reading() as rows:
            chain = lowers(rows, found.layer)
        own = measured(self, found.layer, chain)
        folders = [os.path.join(parent, f"{self.driver_name}-containers", found.id) for parent in (self.root, self.run_root)]
        return own + sum(size for _, size in found.big_data.values()) + sum(map(_tree_bytes, folders))

    def commit_container(self, asked: str | Record, names: Iterable[str] = (), *, name: str = "", message: str = "") -> Image:
        """Make an image of what a container holds now: its image's layers and one new layer of its changes.

        Contents, image and names are durable and appear together. Raises ContainerUnknown, InUse.
        """
        from layerlog.committing import commit_container

        wanted = check_names([*([name] if name else []), *names])
        return commit_container(self, asked.id if isinstance(asked, Record) else asked, wanted, message)


def _asked(image: str | Record) -> str:
    return image.id if isinstance(image, Record) else image


def _tree_bytes(folder: str) -> int:
    """Bytes of the regular files below a folder, hard links once."""
    seen: dict[tuple[int, int], int] = {}
    for where, _, files in os.walk(folder):
        for one in files:
            found = os.lstat(os.path.join(where, one))
            seen[(found.st_dev, found.st_ino)] = found.st_size
    return sum(seen.values())
