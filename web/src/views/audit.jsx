// What is wrong on this machine, and what to do about it.

import { useEffect, useState } from "preact/hooks";
import { get } from "../api.js";
import { count } from "../format.js";
import { Ago, Empty, Problem, State, View, Words } from "../ui.jsx";

const SHOWN = 6;
const SEVERITIES = [["error", "Errors"], ["warning", "Warnings"], ["note", "Notes"]];

/** Findings of one severity, those of one rule together. */
function byRule(findings, severity) {
  const rules = new Map();
  for (const finding of findings)
    if (finding.severity === severity) rules.set(finding.id, [...(rules.get(finding.id) ?? []), finding]);
  return [...rules.values()];
}

function Evidence({ evidence: it }) {
  return (
    <li>
      {it.pid !== undefined && <span>pid {it.pid}</span>}
      {it.port !== undefined && <span>port {it.port}</span>}
      {it.path && <code>{it.path}</code>}
      {it.variable && <code>{it.variable}</code>}
      {it.detail && <span>{it.detail}</span>}
    </li>
  );
}

function Finding({ finding }) {
  const { evidence } = finding;
  return (
    <li>
      <p><Words text={finding.message} /></p>
      <ul class="evidence">{evidence.slice(0, SHOWN).map((one, at) => <Evidence key={at} evidence={one} />)}</ul>
      {evidence.length > SHOWN && <details><summary>{count(evidence.length - SHOWN, "more piece", "more pieces")} of evidence</summary>
        <ul class="evidence">{evidence.slice(SHOWN).map((one, at) => <Evidence key={at} evidence={one} />)}</ul></details>}
    </li>
  );
}

function Rule({ findings: [first, ...rest] }) {
  return (
    <article class="card rule">
      <h3><State name={first.severity} bare /> {first.title} <span class="hash">{first.id}</span></h3>
      <p class="fix"><strong>Fix:</strong> <Words text={first.fix} /></p>
      <ul class="found">{[first, ...rest].map((finding, at) => <Finding key={at} finding={finding} />)}</ul>
    </article>
  );
}

/** The last report stays while others are looked at. */
let kept = null;

export function Audit({ tell }) {
  const [state, setState] = useState({ ...kept, error: null, busy: false });
  const run = async (signal) => {
    setState((old) => ({ ...old, busy: true }));
    try {
      kept = { report: await get("/v1/audit", {}, signal), at: new Date().toISOString() };
      setState({ ...kept, error: null, busy: false });
      tell(`audit: ${count(kept.report.findings.length, "finding")}`);
    } catch (error) {
      if (!signal?.aborted) setState((old) => ({ ...old, error, busy: false }));
    }
  };
  useEffect(() => {
    const controller = new AbortController();
    if (!kept) void run(controller.signal);
    return () => controller.abort();
  }, []);
  const { report, at, error, busy } = state;
  const clean = report?.checked.filter((rule) => rule.findings === 0).length;
  return (
    <View title="Audit" aside={<div class="buttons">{at && <span class="soft">looked <Ago at={at} /></span>}
      <button type="button" class="primary" onClick={() => run()} aria-disabled={busy}>{busy ? "Looking …" : "Look again"}</button></div>}>
      {error && <Problem error={error} />}
      {!report && !error && <p class="soft">Looking at the processes, files and limits of this user …</p>}
      {report && (
        <>
          <dl class="facts totals">
            {SEVERITIES.map(([severity, title]) => (
              <div key={severity}><dt><State name={severity} bare /> {title.toLowerCase()}</dt><dd>{report.findings.filter((it) => it.severity === severity).length}</dd></div>
            ))}
            <div><dt>rules that found nothing</dt><dd>{clean} of {report.checked.length}</dd></div>
          </dl>
          {report.findings.length === 0 && <Empty title="Clean">{report.checked.length} rules found nothing.</Empty>}
          {SEVERITIES.map(([severity, title]) => {
            const rules = byRule(report.findings, severity);
            return rules.length > 0 && (
              <section key={severity} aria-labelledby={`audit-${severity}`}>
                <h2 id={`audit-${severity}`}>{title}</h2>
                {rules.map((findings) => <Rule key={findings[0].id} findings={findings} />)}
              </section>
            );
          })}
          {report.skipped.length > 0 && <details><summary>{count(report.skipped.length, "thing")} could not be looked at</summary>
            <ul>{report.skipped.map((text) => <li key={text}>{text}</li>)}</ul></details>}
          <p class="line soft"><code>repod audit --fix</code> puts right what is safe; every rule is explained in docs/audit.md.</p>
        </>
      )}
    </View>
  );
}
