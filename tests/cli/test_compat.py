"""The compat door: streams, exit statuses and output of contract/cli.md."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Door

HEX = r"[0-9a-f]{64}"


def test_no_arguments_at_all_is_a_usage_problem(cs: Door) -> None:
    shown = cs(where=[])
    assert shown.code == 1
    assert shown.out.startswith("Usage: containers-storage command [options [...]]\n\nCommands:\n\n")
    assert shown.err.startswith("\n  --debug, -D ")


def test_global_help_goes_to_stdout_and_help_of_a_command_ends_with_125(cs: Door) -> None:
    everything = cs("--help", where=[])
    assert (everything.code, everything.err) == (0, "")
    one = cs("layers", "--help")
    assert one.code == 125
    assert one.out == "Usage: containers-storage layers [options [...]]\n\nList layers\n\nOptions:\n"
    assert "  --tree, -t " in one.err


def test_the_table_of_options_is_set_like_the_originals(cs: Door) -> None:
    rows = cs("mounted", "--help", where=[]).err.splitlines()
    assert rows == [
        "",
        "  --debug, -D             Print debugging information",
        "  --graph, -g             Root of the storage tree",
        "  --image-store           Root of the image store",
        "  --json, -j              Prefer JSON output",
        "  --run, -R               Root of the runtime state tree",
        "  --storage-driver, -s    Storage driver to use ($STORAGE_DRIVER)",
        "  --storage-opt=[]        Set storage driver options ($STORAGE_OPTS)",
        "  --transient-store       Transient store: containers do not outlive a boot",
        f"  --unshare, -U{'=true' if os.geteuid() else '     '}      Run in a user namespace",
    ]


@pytest.mark.parametrize(
    ("words", "code", "out", "err"),
    [
        (["bogus"], 1, "bogus: unrecognized command.\n", ""),
        (["layers", "--bogus"], 125, "", "flag provided but not defined: --bogus\nSee 'containers-storage layers --help'.\n"),
        (["create-layer", "-i"], 125, "", "flag needs an argument: -i\nSee 'containers-storage create-layer --help'.\n"),
    ],
)
def test_usage_problems(cs: Door, words: list[str], code: int, out: str, err: str) -> None:
    shown = cs(*words)
    assert (shown.code, shown.out, shown.err) == (code, out, err)


def test_the_number_of_arguments_is_checked_before_the_store_is_opened(cs: Door) -> None:
    shown = cs("create-container", "img", "--metadata", "x")
    assert shown.code == 1
    assert shown.out.startswith("create-container: too many arguments ([img --metadata x]).\nUsage: ")
    assert cs("layer").out.startswith("layer: more arguments required.\n")
    assert not Path(cs.where[1]).exists()  # type: ignore[attr-defined]


def test_global_flags_are_accepted_again_after_the_command(cs: Door, where: list[str]) -> None:
    cs("create-layer", "-i", "a")
    assert cs("layers", *where, where=["--graph", "/nonexistent"]).out == "a\n"
    assert cs("layers", "--debug=false").out == "a\n"


def test_only_a_driver_without_a_root_is_incomplete(cs: Door) -> None:
    shown = cs("layers", where=["-s", "vfs"])
    assert shown.code == 1
    assert shown.out == "error initializing: no storage runroot or graphroot specified: missing necessary StoreOptions\n"


def test_create_layer_prints_id_and_names(cs: Door) -> None:
    shown = cs("create-layer", "-n", "one", "--name", "two")
    assert re.fullmatch(rf"{HEX}\n\tone\n\ttwo\n", shown.out)
    assert json.loads(cs("create-layer", "-j", "-i", "x", "one").out)["parent"] == shown.out[:64]


def test_a_json_layer_has_the_contracts_fields_in_the_contracts_order(cs: Door, archive: bytes) -> None:
    import gzip

    cs("create-layer", "-i", "base")
    shown = cs("import-layer", "-j", "-n", "imp", "-i", "l", "base", stdin=gzip.compress(archive))
    assert list(json.loads(shown.out)) == [
        *("id", "names", "parent", "created", "compressed-diff-digest", "compressed-size", "diff-digest", "diff-size", "compression"),
        *("uidset", "gidset"),
    ]  # fmt: skip


def test_empty_listings_are_null_or_an_empty_list_as_in_the_contract(cs: Door) -> None:
    null = ["layers", "images"]
    none = ["containers", "storage-layers"]
    assert [cs(name, "-j").out for name in null] == ["null\n"] * 2
    assert [cs(name, "-j").out for name in none] == ["[]\n"] * 2
    assert cs("layer", "-j", "x").out == "[]\n"
    assert cs("images-by-digest", "-j", "sha256:" + "0" * 64).out == "[]\n"
    cs("create-layer", "-i", "x", "-n", "n")
    cs("create-image", "-i", "i", "x")
    assert cs("get-names", "-j", "i").out == "[]\n"
    assert cs("set-names", "-j", "x").out == "null\n"
    assert cs("list-image-data", "-j", "i").out == "null\n"
    assert cs("changes", "-j", "x").out == "null\n"


@pytest.fixture
def filled(cs: Door, archive: bytes) -> Door:
    """Layer ``base`` with contents, ``top`` on it, image ``img``, container ``ctr``."""
    cs("create-layer", "-i", "base", "-n", "ground")
    cs("applydiff", "base", stdin=archive)
    cs("create-layer", "-i", "top", "base")
    cs("create-image", "-i", "iid", "-n", "img", "top")
    cs("create-container", "-i", "cid", "-n", "ctr", "img")
    return cs


def test_listings_name_what_sits_on_what(filled: Door) -> None:
    own = json.loads(filled("containers", "-j").out)[0]["layer"]
    assert filled("layers").out == f"base\n\tname: ground\ntop\n\timage: iid\n\t\tname: img\n{own}\n\tcontainer: cid\n\t\tname: ctr\n"
    assert filled("layers", "-q").out == f"base\ntop\n{own}\n"
    assert filled("images").out == "iid\n\tname: img\n"
    assert filled("containers").out == "cid\n\tname: ctr\n"


def test_the_tree_is_drawn_as_the_original_draws_it(filled: Door) -> None:
    filled("create-layer", "-i", "side", "base")
    own = json.loads(filled("containers", "-j").out)[0]["layer"]
    assert filled("layers", "-qt").out == (
        "(base)\n└─base\n  name: ground\n"
        "  ├─top\n  │ image: iid\n  │ image name: img\n"
        f"  │ └─{own}\n  │   container: cid\n  │   container name: ctr\n"
        "  └─side\n"
    )


def test_examining_things_skips_unknown_ones_and_ends_with_1(filled: Door) -> None:
    own = json.loads(filled("containers", "-j").out)[0]["layer"]
    assert filled("layer", "top").out == "ID: top\nParent: base\n"
    shown = filled("image", "img", "nope")
    assert (shown.code, shown.err) == (1, "")
    assert shown.out.startswith("ID: iid\nName: img\nTop Layer: top\nSize: ")
    assert filled("container", own).out.startswith(f"ID: cid\nName: ctr\nImage: iid\nImage name: img\nSize: 0\nLayer: {own}\n")


def test_exists_tells_the_truth_about_the_kind_asked_for(filled: Door) -> None:
    assert filled("exists", "base", "img", "ctr").code == 0
    shown = filled("exists", "-l", "img")  # the original prints true here and ends with 1
    assert (shown.code, shown.out) == (1, "img: false\n")
    assert filled("exists", "-q", "nope").out == ""
    assert filled("exists", "-j", "nope", "base").out == '{"base":true,"nope":false}\n'


def test_a_layer_gives_back_its_tar_bit_for_bit(filled: Door, archive: bytes, tmp_path: Path) -> None:
    assert filled("diff", "-u", "base").raw == archive
    filled("diff", "-u", "-f", str(tmp_path / "out"), "ground")
    assert (tmp_path / "out").read_bytes() == archive
    assert filled("diff", "-x", "base").err == "unsupported compression format tar.xz\n"


def test_changes_are_quoted_as_go_does(filled: Door) -> None:
    assert filled("changes", "base").out == 'Add "/d"\nAdd "/d/f"\nAdd "/g"\n'
    assert json.loads(filled("changes", "-j", "base").out)[0] == {"Path": "/d", "Kind": 1}
    assert filled("changes", "base", "unknown").out == filled("changes", "base").out
    assert filled("changes", "nope").err == "layer not known\n"
    assert filled("diffsize", "base").out == "5003\n"


def test_a_damaged_import_leaves_no_layer(filled: Door) -> None:
    before = filled("layers", "-q").out
    shown = filled("import-layer", "-i", "bad", stdin=b"junk")
    assert shown.code == 1
    assert "unexpected EOF" in shown.err or "invalid tar header" in shown.err
    assert filled("layers", "-q").out == before
    assert filled("storage-layers").out.splitlines() == sorted(before.splitlines())


@pytest.mark.parametrize(
    ("words", "err"),
    [
        (["delete-layer", "base"], "base: used by layer top: layer has children\n"),
        (["delete-layer", "ground"], "ground: used by layer top: layer has children\n"),  # the original skips the check for names
        (["delete-layer", "nope"], "nope: identifier is not a layer\n"),
        (["delete-image", "img"], "img: image used by cid: image is in use by a container\n"),
        (["delete-image", "nope"], "nope: identifier is not an image\n"),
        (["delete-container", "nope"], "nope: identifier is not a container\n"),
        (["delete", "nope"], "nope: layer not known\n"),
        (["create-layer", "-i", "base"], "that ID is already in use\n"),
        (["create-layer", "-n", "ground"], "that name is already in use\n"),
        (["create-layer", "nope"], "layer not known\n"),
        (["create-image", "-i", "iid"], 'an image with ID "iid" already exists: that ID is already in use\n'),
        (["create-image", "-n", "img"], 'image name "img" is already associated with image "iid": that name is already in use\n'),
        (
            ["create-image", "-d", "bogus"],
            'validating digests for new image: validating image digest "bogus": invalid checksum digest format\n',
        ),
        (["create-container", "nope"], 'locating image with ID "nope": image not known\n'),
        (["create-layer", "--uidmap", "0:1:1", "--hostuidmap"], "host uid map specified along with UID mapping\n"),
        (
            ["create-layer", "--uidmap", "0:1000"],
            'initializing ID mappings: uid setting is malformed expected ["uint32:uint32:uint32"]: ["0:1000"]\n',
        ),
        (["set-metadata", "base"], "no new metadata provided\n"),
        (["set-metadata", "-m", "x", "nope"], "identifier is not a layer, image, or container\n"),
        (["add-names", "-n", "x", "nope"], "layer not known\n"),
        (["set-image-data", "img", ""], "can't set empty name for image big data item: not a valid name for a big data item\n"),
        (["get-image-data-size", "img", "k"], "size is not known\n"),
        (["get-container-data-digest", "ctr", "k"], "could not compute digest of item\n"),
        (["get-layer-data", "base", "k"], 'locating item named "k" for layer with ID "base": file does not exist\n'),
        (["get-container-dir", "nope"], "container not known\n"),
        (["mount", "nope"], "layer not known while mounting nope\n"),
        (["unmount", "nope"], "layer not known while unmounting nope\n"),
        (["mounted", "nope"], "layer not known checking if nope is mounted\n"),
        (["dedup", "--hash-method", "foo"], "invalid hash method: foo\n"),
        (["check", "-m", "soon"], 'time: invalid duration "soon"\n'),
    ],
)
def test_refusals_are_one_line_on_stderr(filled: Door, words: list[str], err: str) -> None:
    shown = filled(*words)
    assert shown.err == err
    assert shown.code == 1
    assert shown.out in ("", "\n")


def test_delete_image_tells_the_layers_that_went(filled: Door) -> None:
    filled("delete-container", "ctr")
    assert filled("delete-image", "-t", "img").err == "img: top\nimg: base\n"
    assert filled("exists", "img").code == 0
    assert filled("delete-image", "-j", "img", "nope").out == (
        '{"img":{"deleted-layers":["top","base"]},"nope":{"error":"identifier is not an image"}}\n'
    )
    assert filled("layers").out == ""


def test_names_go_in_front_and_move_from_their_holder(filled: Door) -> None:
    assert filled("add-names", "-j", "-n", "a", "-n", "b", "img").out == '["a","b","img"]\n'
    filled("create-image", "-i", "other")
    assert filled("add-names", "-n", "a", "other").out == ""
    assert filled("get-names", "img").out == "b\nimg\n"
    assert filled("remove-names", "-j", "-n", "b", "-n", "none", "img").out == '["img"]\n'


def test_metadata_of_an_unknown_thing_is_empty_with_status_1(filled: Door) -> None:
    filled("set-metadata", "-m", "hello\n", "base")
    assert filled("metadata", "base", "nope").out == "base: hello\nnope: \n"
    assert filled("metadata", "-q", "base").out == "hello\n"
    assert filled("metadata", "-j", "base", "nope").out == '{"base":"hello\\n"}\n'
    assert filled("metadata", "nope").code == 1


def test_data_items_come_back_byte_for_byte(filled: Door, tmp_path: Path) -> None:
    data = bytes(range(256)) * 10
    for kind, owner in (("image", "img"), ("container", "ctr"), ("layer", "base")):
        assert filled(f"set-{kind}-data", owner, "Weird/Key", stdin=data).out == ""
        assert filled(f"get-{kind}-data", owner, "Weird/Key").raw == data
        assert filled(f"list{kind}data", owner).out == "Weird/Key\n"
    (tmp_path / "out").write_text("old")
    assert filled("get-image-data", "-f", str(tmp_path / "out"), "img", "nope").code == 1
    assert (tmp_path / "out").read_bytes() == b""  # made before the item is looked up
    shown = filled("get-container-data", "ctr", "No/pe")
    assert shown.err == f"open {filled.where[1]}/vfs-containers/cid/=Tm8vcGU=: no such file or directory\n"  # type: ignore[attr-defined]


def test_a_manifest_gives_its_image_a_digest_for_good(filled: Door) -> None:
    filled("set-image-data", "img", "manifest", stdin=b"one")
    digest = json.loads(filled("images", "-j").out)[0]["digest"]
    filled("set-image-data", "img", "manifest", stdin=b"two")
    assert json.loads(filled("images", "-j").out)[0]["digest"] == digest
    assert filled("images-by-digest", "-q", digest).out == "iid\n"
    assert filled("images-by-digest", "bogus").err == "bogus: invalid checksum digest format\n"


def test_mounts_are_counted(filled: Door) -> None:
    path = filled("mount", "ctr").out
    assert filled("mount", "-j", "ctr", "nope").out == (
        f'[{{"id":"ctr","mountpoint":"{path.strip()}","error":""}},{{"id":"nope","mountpoint":"","error":"layer not known"}}]\n'
    )
    assert filled("mounted", "ctr", "base").out == "ctr mounted\n"
    assert filled("shutdown").err == "shutdown: a layer is mounted: layer is in use by a container\n"
    assert filled("unmount", "ctr").out == ""
    assert filled("unmount", "-j", "ctr").out == 'ctr mountpoint unmounted\n[{"id":"ctr","error":""}]\n'
    assert filled("shutdown", "-j").out == '""\n'


def test_a_forced_shutdown_succeeds(filled: Door) -> None:
    filled("mount", "ctr")
    assert filled("shutdown", "-f").code == 0  # the original unmounts and then fails
    assert filled("mounted", "ctr").out == ""


def test_status_and_version_go_to_stderr_in_plain_form(filled: Door) -> None:
    root, run = filled.where[1], filled.where[3]  # type: ignore[attr-defined]
    shown = filled("status")
    assert shown.out == ""
    assert shown.err.startswith(f"Root: {root}\nRun Root: {run}\nDriver Name: vfs\nDriver Options: []\n")
    assert json.loads(filled("status", "-j").out)[0] == ["Root", root]
    assert re.fullmatch(r"Version: \S+\n", filled("version").err)


def test_wipe_takes_everything_even_mounted(filled: Door) -> None:
    filled("mount", "ctr")
    shown = filled("wipe", "-j")
    assert (shown.code, shown.out) == (0, '""\n')
    assert [filled(name).out for name in ("layers", "images", "containers")] == [""] * 3


def test_a_healthy_store_passes_its_check(filled: Door) -> None:
    shown = filled("check")
    assert (shown.code, shown.out, shown.err) == (0, "", "")
    assert filled("check", "-j").out == '{"Containers":{},"Images":{},"Layers":{},"ROImages":{},"ROLayers":{}}\n'


def test_folders_live_with_their_owner(filled: Door) -> None:
    folder = Path(filled("get-container-dir", "ctr").out.strip())
    assert folder.is_dir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert Path(filled("get-image-dir", "img").out.strip()).name == "userdata"
    assert filled("get-image-dir", "nope").code == 1  # the original accepts any word and makes litter
    filled("delete-container", "ctr")
    assert not folder.exists()


def test_gc_takes_what_only_the_driver_knows(filled: Door) -> None:
    filled("create-storage-layer", "-i", "stray")
    assert "stray\n" in filled("storage-layers").out
    assert filled("gc", "-j").out == '""\n'
    assert "stray" not in filled("storage-layers").out
    assert filled("check").code == 0


def test_copy_goes_in_out_and_between(filled: Door, tmp_path: Path) -> None:
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/file").write_text("x")
    (tmp_path / "tree/link").symlink_to("/etc")
    assert filled("copy", str(tmp_path / "tree"), "top:/into").code == 0
    assert filled("changes", "top").out == 'Add "/into"\nAdd "/into/link"\nAdd "/into/sub"\nAdd "/into/sub/file"\n'
    assert filled("copy", "top:/into/sub/file", str(tmp_path / "out")).code == 0
    assert (tmp_path / "out").read_text() == "x"
    assert filled("copy", "nope", "top:/y").err.startswith('error copying "nope" to "')
    assert filled("copy", "top:/into", "nope:/").err == 'error finding layer "nope": layer not known\n'
    assert filled("copy", str(tmp_path / "out"), "top:/into").err.endswith(": cannot overwrite directory\n")
    assert filled("copy", "-o", "me", str(tmp_path / "out"), "top:/z").err.startswith("bad UID: ")


def test_copy_never_leaves_the_layer(filled: Door, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("host")
    (tmp_path / "way").symlink_to(tmp_path)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/way").symlink_to(tmp_path)
    filled("copy", str(tmp_path / "tree"), "top:/")
    assert filled("copy", "top:/way/secret", str(tmp_path / "stolen")).code == 1
    assert not (tmp_path / "stolen").exists()
    assert filled("copy", str(tmp_path / "secret"), "top:/way/planted").code == 1
    assert filled("copy", str(tmp_path / "secret"), "top:/../../../planted").code == 0
    assert not (tmp_path / "planted").exists()
    assert not Path("/planted").exists()
    assert 'Add "/planted"\n' in filled("changes", "top").out


def test_config_prints_json_and_ignores_flags(cs: Door, tmp_path: Path) -> None:
    file = tmp_path / "storage.conf"
    file.write_text('[storage]\ndriver = "vfs"\ngraphroot = "/g"\nrunroot = "/r"\n[storage.options.vfs]\nignore_chown_errors = "true"\n')
    found = json.loads(cs("config", str(file)).out)
    assert (found["driver"], found["root"], found["runroot"]) == ("vfs", "/g", "/r")
    assert found["driver-options"] == ["vfs.ignore_chown_errors=true"]


def test_a_repair_takes_damaged_and_forgotten_layers_with_their_images(filled: Door, tmp_path: Path) -> None:
    filled("delete-container", "ctr")
    filled("create-layer", "-i", "forgotten")
    filled("create-layer", "-i", "on-it", "forgotten")
    filled("create-storage-layer", "-i", "stray")
    damaged = next((tmp_path / "graph/vfs/dir/base").glob("g"))
    damaged.write_bytes(b"y" * 5000)
    shown = filled("check", "-m", "0")
    assert shown.code == 1
    assert shown.err.endswith(" layer errors, 0 read-only layer errors, 1 image errors, 0 read-only image errors, 0 container errors\n")
    assert " layer base: file integrity checksum failed\n" in shown.out
    assert " layer stray: layer in lower level storage driver not accounted for\n" in shown.out
    assert " layer on-it: layer not referenced by any images or containers\n" in shown.out
    assert filled("check", "-r", "-m", "0").code == 0
    assert [filled(name).out for name in ("layers", "images", "storage-layers")] == [""] * 3
    assert filled("check").code == 0


def test_a_repair_leaves_what_a_container_uses(filled: Door, tmp_path: Path) -> None:
    (tmp_path / "graph/vfs/dir/base/g").write_bytes(b"y" * 5000)
    shown = filled("check", "-r")
    assert shown.code == 1
    assert "deleting image iid: image used by cid: image is in use by a container\n" in shown.err
    assert filled("exists", "ctr", "img", "base").code == 0


@pytest.mark.parametrize(
    ("driver", "option", "why"),
    [
        ("overlay", "foo", "unable to parse key/value option: foo"),
        ("vfs", "foo", "unable to parse key/value option: foo"),
        ("overlay", "overlay.bogus=1", "overlay: unknown option overlay.bogus"),
        ("overlay", ".mountop=noexec", "overlay: unknown option .mountop"),
        ("overlay", "mountop=noexec", "overlay: unknown option mountop"),
        ("overlay", "overlay.ignore_chown_errors=maybe", 'strconv.ParseBool: parsing "maybe": invalid syntax'),
        ("vfs", "vfs.mountopt=nodev", "vfs driver does not support mount options"),
        ("vfs", ".bogus=1", "vfs driver does not support .bogus options"),
        ("overlay", "overlay.imagestore=/no/such", "overlay: can't stat imageStore dir /no/such: stat /no/such: no such file or directory"),
    ],
)
@pytest.mark.parametrize("command", ["version", "layers", "create-layer"])
def test_a_store_does_not_open_with_an_option_that_nobody_would_act_on(
    cs: Door, tmp_path: Path, driver: str, option: str, why: str, command: str
) -> None:
    where = ["--graph", str(tmp_path / "g"), "--run", str(tmp_path / "r"), "-s", driver]
    shown = cs(*where, "--storage-opt", option, command, where=[])
    assert (shown.code, shown.out, shown.err) == (1, f"error initializing: {why}\n", "")
    assert not (tmp_path / "g").exists()


@pytest.mark.root
@pytest.mark.parametrize("option", ["overlay.mountopt=noexec", ".mountopt=noexec", ".MountOpt=noexec", "mountopt=noexec"])
def test_mount_options_count_however_they_are_spelled(cs: Door, tmp_path: Path, option: str) -> None:
    where = ["--graph", str(tmp_path / "g"), "--run", str(tmp_path / "r"), "-s", "overlay", "--storage-opt", option]
    cs("create-layer", "-i", "one", where=where)
    point = cs(*where, "mount", "one", where=[]).out.strip()
    try:
        with open("/proc/self/mountinfo") as table:
            assert "noexec" in next(line for line in table if f" {point} " in line)
    finally:
        assert cs(*where, "unmount", "one", where=[]).code == 0


def test_roots_that_cannot_be_made_are_told_as_the_original_does(cs: Door, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    run = ["--run", str(tmp_path / "r"), "-s", "vfs"]
    shown = cs("layers", where=["--graph", str(tmp_path / "file"), *run])
    assert shown.out == f"error initializing: mkdir {tmp_path}/file: not a directory\n"
    shown = cs("layers", where=["--graph", str(tmp_path / "g"), *run[:2], "-s", "nosuch"])
    assert shown.out == f"error initializing: failed to GetDriver graph nosuch {tmp_path}/g: driver not supported\n"


def test_overlay2_is_overlay(cs: Door, tmp_path: Path) -> None:
    shown = cs("status", "-j", where=["--graph", str(tmp_path / "g"), "--run", str(tmp_path / "r"), "-s", "overlay2"])
    assert '["Driver Name","overlay"]' in shown.out


@pytest.mark.parametrize(
    ("digest", "why"),
    [
        ("sha256:zz", "invalid checksum digest length"),
        ("sha256:" + "g" * 64, "invalid checksum digest format"),
        ("md5:" + "a" * 32, "unsupported digest algorithm"),
        ("a..b:ff", "invalid checksum digest format"),
        (":" + "a" * 64, "invalid checksum digest format"),
        ("x", "invalid checksum digest format"),
    ],
)
def test_what_is_wrong_with_a_digest_is_told_as_the_original_does(filled: Door, digest: str, why: str) -> None:
    assert filled("images-by-digest", digest).err == f"{digest}: {why}\n"
    told = f'validating digests for new image: validating image digest "{digest}": {why}\n'
    assert filled("create-image", "-d", digest).err == told


def test_what_is_wrong_with_a_layer_is_wrong_with_its_image_and_container(cs: Door, archive: bytes, tmp_path: Path) -> None:
    cs("import-layer", "-i", "base", stdin=archive)
    cs("create-image", "-i", "img", "base")
    cs("create-image", "-i", "whole", "")
    cs("create-container", "-i", "box", "img")
    (tmp_path / "graph/vfs/dir/base/new").write_text("x")
    wrong = " layer base: +/new, layer content modified\n"
    found = cs("check")
    assert found.out == f"layer base:\n{wrong}image img:\n{wrong}container box:\n{wrong}"
    assert found.err == "1 layer errors, 0 read-only layer errors, 1 image errors, 0 read-only image errors, 1 container errors\n"
    told = [wrong.strip()]
    assert json.loads(cs("check", "-j").out) == {
        "Layers": {"base": told}, "ROLayers": {}, "Images": {"img": told}, "ROImages": {}, "Containers": {"box": told}
    }
    assert cs("check", "-r").code == 1
    assert cs("check", "-f").code == 0
    assert (cs("check").code, cs("containers").out, cs("images").out, cs("layers").out) == (0, "", "whole\n", "")


def test_one_root_holds_stores_of_several_drivers_with_the_folders_of_their_users(cs: Door, tmp_path: Path) -> None:
    cs("create-image", "-i", "img", "-n", "app", "")
    cs("create-container", "-i", "box", "app")
    cs("get-image-dir", "app")
    cs("get-container-dir", "box")
    other = ["--graph", str(tmp_path / "graph"), "--run", str(tmp_path / "run"), "-s", "overlay"]
    assert cs("create-layer", "-i", "one", where=other).out == "one\n"
    assert (cs("layers", where=other).out, cs("images", "-q").out) == ("one\n", "img\n")


def test_a_store_without_its_journal_is_not_called_somebody_elses_for_the_folders_it_made(cs: Door, archive: bytes, tmp_path: Path) -> None:
    cs("import-layer", "-i", "base", stdin=archive)
    cs("create-container", "-i", "box", "")
    cs("get-container-dir", "box")
    cs("delete-container", "box")
    shutil.rmtree(tmp_path / "graph/vfs-layerlog")
    assert "the journal of" in cs("layers").out
