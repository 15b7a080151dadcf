"""The step that decodes every image, says what is wrong with it, and lists what is fit to be learnt from."""

import json
import sys
from typing import Annotated

from pydantic import Field

from components.contract import Output, Source
from components.data.check_settings import Thresholds
from components.data.settings import Data
from components.data.verdicts import Policies, Policy, Reason
from components.settings import From, Runtime, Settings, SharedRuntime


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
    from components.data.copies import among, leaks
    from components.data.findings_page import page
    from components.data.guard_worker import Limits
    from components.data.manifest import refuse_gaps, write_manifest
    from components.data.pool import processes
    from components.data.reading import read_listing, root_of

    policies = Policies(settings.policy, settings.policies)
    limits = Limits(settings.seconds, settings.memory_mb)
    listing = read_listing(source, settings.data)
    for note in listing.notes:
        print(f"warning: {source}: {note}", file=sys.stderr)
    root, rows = root_of(source, settings.data.root), listing.rows
    facts = checks.inspect_all(root, rows, settings.thresholds, limits, processes(settings.runtime.threads))
    more, clusters = among(rows, facts, listing.tasks)
    facts = checks.joined(facts, more)
    checks.refuse(facts, rows["path"].tolist(), policies)
    shared = leaks(rows, facts, clusters)
    findings = checks.findings_table(rows, facts, policies)
    rows = checks.judged(rows, facts, clusters, policies)
    refuse_gaps(rows, listing.tasks)
    counts = checks.count(facts)
    kept = int((rows["verdict"] == "ok").sum())
    head = {"layout": listing.layout, "notes": list(listing.notes), "counts": counts, "leaks": shared,
            "files": len(rows), "kept": kept, "digest": checks.content_digest(rows), "seconds": settings.seconds,
            "memory_mb": settings.memory_mb, "thresholds": settings.thresholds.model_dump(mode="json"),
            "policies": {reason: policies.of(reason) for reason in counts}}
    write_manifest(manifest, rows, findings, head, listing.tasks)
    report.write_text(page(root, rows, findings, listing, policies, head), encoding="utf-8")
    figures = {"files": len(rows), "kept": kept} | {str(reason): number for reason, number in counts.items()}
    metrics.write_text(json.dumps(figures, sort_keys=True, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(f"{kept} of {len(rows)} images are fit, {len(rows) - kept} are left out", file=sys.stderr)
