"""The step that decodes every image, says what is wrong with it, and lists what is fit to be learnt from."""

import json
import sys
from typing import Annotated

from pydantic import Field

from components.contract import Output, Source
from components.data.settings import Data
from components.data.verdicts import Policies, Policy, Reason
from components.settings import From, Runtime, Settings, SharedRuntime


class Validate(Settings):
    """What to make of files that are not as they should be; none is ever deleted."""

    policy: Policy = Field("quarantine", description="quarantine: leave them out; fail: stop; allow: keep what decodes")
    policies: dict[Reason, Policy] = Field(
        {}, description="policies of single reasons; wrong_extension is allowed unless it is named here")
    data: Annotated[Data, From("data")] = Data()
    runtime: SharedRuntime = Runtime()


def validate(settings: Validate, /, *, source: Source, manifest: Output, report: Output, metrics: Output) -> None:
    """Decode every image of a folder, find copies, and write the list of those that `index` takes."""
    from components.data import checks
    from components.data.findings_page import page
    from components.data.manifest import refuse_gaps, write_manifest
    from components.data.pool import processes
    from components.data.reading import read_listing

    policies = Policies(settings.policy, settings.policies)
    listing = read_listing(source, settings.data)
    for note in listing.notes:
        print(f"warning: {source}: {note}", file=sys.stderr)
    paths = listing.rows["path"].tolist()
    findings = checks.inspect_all(source, paths, processes(settings.runtime.threads))
    findings = checks.compare(listing.rows, findings, listing.tasks)
    checks.refuse(findings, paths, policies)
    rows = checks.judged(listing.rows, findings, policies)
    refuse_gaps(rows, listing.tasks)
    counts = checks.count(findings)
    head = {"layout": listing.layout, "counts": counts, "notes": list(listing.notes),
            "policies": {reason: policies.of(reason) for reason in counts}}
    write_manifest(manifest, rows, head, listing.tasks)
    report.write_text(page(source, rows, listing, policies), encoding="utf-8")
    kept = int((rows["verdict"] == "ok").sum())
    figures = {"files": len(rows), "kept": kept} | {str(reason): number for reason, number in counts.items()}
    metrics.write_text(json.dumps(figures, sort_keys=True, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(f"{kept} of {len(rows)} images are fit, {len(rows) - kept} are left out", file=sys.stderr)
