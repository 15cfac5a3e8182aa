"""``overnight reproject``: the states of a run on the vectors of other traits."""

from pathlib import Path

from overnight.cli.arguments import split_list
from overnight.errors import UsageError
from overnight.runs.reprojecting import reproject_run
from overnight.spec.config_root import ConfigRoot
from overnight.spec.trait import TraitSpec
from overnight.store.run_folder import find_run, is_path
from overnight.traits.sources import with_trait_digest


def show_reprojection(experiments: Path, run: str, traits: str, name: str | None) -> None:
    """Project again, and print where the tables are.

    Raises:
        UsageError: there is no such run or trait, no state was kept, or there are no vectors.
    """
    folder = find_run(experiments, run)
    root = ConfigRoot(Path("config"))
    names = split_list(traits) or []
    if not names:
        raise UsageError("--traits: an empty list; name at least one, or the path of a folder")
    found = [with_trait_digest(_trait(root, each)) for each in names]
    out = reproject_run(folder, found, name or "+".join(trait.name for trait in found))
    print(out)  # noqa: T201 - the terminal is our output


def _trait(root: ConfigRoot, name: str) -> TraitSpec:
    path = Path(name).expanduser()
    if is_path(name) and path.is_dir():
        return TraitSpec(name=path.resolve().name, path=path.resolve())
    return root.trait(name)
