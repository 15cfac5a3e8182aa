"""Whether a run's files are what was written, and for captures what their schemas say."""

from collections.abc import Iterable
from dataclasses import dataclass

from overnight.errors import StoreError
from overnight.store.manifest import TrialState, read_manifest
from overnight.store.run_folder import RunFolder
from overnight.verifying.finding import Finding, finding_of
from overnight.verifying.seals import check_seals, sealed_files

_NO_MANIFEST = "copy it back from where the run was kept; without it nothing says what the files must be"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What came of looking at a run's files."""

    n_sealed: int  # files that the manifest names
    n_read: int  # of captures and of draws of vectors, read against their schemas
    is_running: bool  # then files may change while they are looked at
    findings: tuple[Finding, ...]


def verify_run(folder: RunFolder) -> Verification:
    """Check every file of a run of any kind against its seal, and those of captures and draws against their schemas."""
    try:
        manifest = read_manifest(folder)
    except StoreError as error:
        finding = finding_of(
            folder.path, error, file="manifest.json", wanted="a manifest", remedy=_NO_MANIFEST
        )
        return Verification(n_sealed=0, n_read=0, is_running=False, findings=(finding,))
    sealed = sealed_files(manifest)
    findings = list(check_seals(folder.path, sealed))
    slugs = list(manifest.trials)
    n_read = 0
    if any((folder.trial(slug).results / "captures.jsonl").exists() for slug in slugs):
        # pyarrow is loaded for this kind alone.
        from overnight.verifying.captures import check_captures  # noqa: PLC0415

        check = check_captures(folder, slugs)
        n_read = len(check.files)
        findings += _new(check.findings, findings)
    if drawn := [slug for slug in slugs if folder.trial(slug).chunks.exists()]:
        from overnight.verifying.best_of_k import check_draws  # noqa: PLC0415 - as is numpy for this one

        check = check_draws(folder, drawn)
        n_read += len(check.files)
        findings += _new(check.findings, findings)
    return Verification(
        n_sealed=len(sealed),
        n_read=n_read,
        is_running=manifest.state is TrialState.RUNNING,
        findings=tuple(findings),
    )


def _new(found: Iterable[Finding], known: Iterable[Finding]) -> list[Finding]:
    """Return findings that say more than that a file is gone, where that is said already."""
    gone = {one.file for one in known if one.found == "no such file"}
    return [one for one in found if one.file not in gone]
