// What was written across repos: a drawing of who writes where, and the journal below it.

import { useState } from "preact/hooks";
import { get } from "../api.js";
import { Drawing } from "../drawing.jsx";
import { count, named } from "../format.js";
import { flows, fromOf, OUTSIDE } from "../mutations.js";
import { usePolled } from "../store.js";
import { Ago, Empty, Problem, RepoName, State, stateOf, Table, View, Words } from "../ui.jsx";

const LIMIT = 500;
const FILES = 4;

const titled = (id) => (id === OUTSIDE ? "no repo's session" : named(id)[0]);

function Files({ files }) {
  return (
    <>
      {files.slice(0, FILES).map((file) => <code key={file}>{file}</code>)}
      {files.length > FILES && <span class="soft">and {files.length - FILES} more</span>}
    </>
  );
}

function Row({ mutation }) {
  return (
    <tr>
      <td><Ago at={mutation.at} /></td>
      <td><State name={mutation.outcome} /></td>
      <td>{mutation.from.repo_id ? <RepoName id={mutation.from.repo_id} /> : <span class="soft">no repo's session</span>}
        <div class="path">{mutation.from.session_id}</div></td>
      <td><RepoName id={mutation.to.repo_id} /><div class="path">{mutation.to.branch}</div></td>
      <td>{mutation.tool}</td>
      <td class="files"><Files files={mutation.files} />
        {mutation.message && <div class="finding"><State name="note" bare /> <Words text={mutation.message} /></div>}</td>
      <td class="number">{mutation.fence || "–"}</td>
    </tr>
  );
}

function Graph({ mutations, chosen, choose }) {
  const { ids, edges } = flows(mutations);
  const nodes = ids.map((id) => ({ id, title: titled(id), under: id === OUTSIDE ? "a person, a script, an agent" : named(id)[1] }));
  const drawn = edges.map((edge) => ({ ...edge, state: edge.worst, label: edge.count, chosen: chosen?.from === edge.from && chosen?.to === edge.to,
    says: `${titled(edge.from)} wrote in ${titled(edge.to)}: ${count(edge.count, "write")}, ${edge.worst === "applied" ? "all applied" : `the worst ${stateOf(edge.worst)[2]}`}` }));
  return <Drawing label="Writes across repositories" nodes={nodes} edges={drawn}
    onEdge={(edge) => choose(edge.chosen ? null : { from: edge.from, to: edge.to })} />;
}

export function Mutations() {
  const { value: mutations, error } = usePolled((signal) => get("/v1/mutations", { limit: LIMIT }, signal), []);
  const [chosen, choose] = useState(null);
  const shown = (mutations ?? []).filter((it) => !chosen || (fromOf(it) === chosen.from && it.to.repo_id === chosen.to));
  const head = ["When", "Outcome", "From", "To", "Tool", "Files", ["Fence", "number"]];
  return (
    <View title="Mutations" aside={mutations?.length > 0 && <p class="soft">the last {count(mutations.length, "write")} across repositories</p>}>
      {error && <Problem error={error} />}
      {mutations?.length === 0 && <Empty title="Nothing has crossed repositories yet">When a session writes in another repository, that one's own backend applies it, and it is put on record here.</Empty>}
      {mutations?.length > 0 && (
        <>
          <Graph mutations={mutations} chosen={chosen} choose={choose} />
          <p class="line" role="status">
            {chosen ? <>Only {titled(chosen.from)} → {titled(chosen.to)} <button type="button" onClick={() => choose(null)}>Show all</button></>
              : <span class="soft">Choose an arrow to see only its writes.</span>}
          </p>
          <Table label="Writes across repositories, the newest first" head={head}>
            {shown.map((mutation) => <Row key={`${mutation.operation_id} ${mutation.to.repo_id}`} mutation={mutation} />)}
          </Table>
        </>
      )}
    </View>
  );
}
