"""The step that decodes every image, says what is wrong with it, and lists what is fit to be learnt from."""

import json
import sys
from typing import Annotated, Any

from pydantic import Field

from components.contract import Output, Source
from components.data.check_settings import Thresholds
from components.data.settings import Data
from components.data.verdicts import Policies, Policy, Reason
from components.runtime import Runtime, SharedRuntime
from components.settings import From, Settings


class Validate(Settings):
    """What to make of files that are not as they should be; none is ever deleted."""

    policy: Policy = Field("quarantine", description="quarantine: leave them out; fail: stop; allow: keep what decodes")
    policies: dict[Reason, Policy] = Field(
        {}, description="policies of single reasons; facts and doubts (alpha, dark, ...) are allowed unless named here")
    thresholds: Thresholds = Field(Thresholds(), description="from where on an image is found odd")
    seconds: float = Field(5.0, gt=0, description="longest time that a file may take to be read and decoded")
    memory_mb: int = Field(512, ge=64, description="most memory that decoding a file may take, in MiB")
    data: Annotated[Data, From("data")] = Data()
    runtime: SharedRuntime = Runtime()


def validate(settings: Validate, /, *, source: Source, manifest: Output, report: Output, metrics: Output) -> None:
    """Decode every image of a folder, find copies, and write the list of those that `index` takes."""
    from components.data import checks
    from components.data.copies import leaks
    from components.data.findings_page import page
    from components.data.guard_worker import Limits
    from components.data.manifest import refuse_gaps, write_manifest
    from components.data.pool import processes
    from components.data.reading import read_listing, root_of

    listing = read_listing(source, settings.data)
    for note in listing.notes:
        print(f"warning: {source}: {note}", file=sys.stderr)
    policies, root = Policies(settings.policy, settings.policies), root_of(source, settings.data.root)
    limits = Limits(settings.seconds, settings.memory_mb)
    facts = checks.inspect_all(root, listing.rows, settings.thresholds, limits, processes(settings.runtime.threads))
    facts, clusters = checks.compared(listing.rows, facts, listing.tasks)
    checks.refuse(facts, listing.rows["path"].tolist(), policies)
    rows = checks.judged(listing.rows, facts, clusters, policies)
    refuse_gaps(rows, listing.tasks)
    findings, counts = checks.findings_table(rows, facts, policies), checks.count(facts)
    head = settled(settings) | {
        "layout": listing.layout, "notes": list(listing.notes), "files": len(rows), "counts": counts,
        "kept": int((rows["verdict"] == "ok").sum()), "leaks": leaks(rows, facts, clusters),
        "digest": checks.content_digest(rows), "policies": {reason: policies.of(reason) for reason in counts}}
    write_manifest(manifest, rows, findings, head, listing.tasks)
    report.write_text(page(root, rows, findings, listing, policies, head), encoding="utf-8")
    figures = {"files": head["files"], "kept": head["kept"]} | {str(reason): counts[reason] for reason in counts}
    metrics.write_text(json.dumps(figures, sort_keys=True, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(f"{head['kept']} of {len(rows)} images are fit, {len(rows) - head['kept']} are left out", file=sys.stderr)


def settled(settings: Validate) -> dict[str, Any]:
    """The settings by which files were judged, as validation.json keeps them."""
    return settings.model_dump(mode="json", include={"thresholds", "seconds", "memory_mb"})
