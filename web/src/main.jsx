// The dashboard: who comes in, and which view is looked at.

import "uplot/dist/uPlot.min.css";
import "./app.css";
import { render } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { isLoggedIn, login, logout, whenLost } from "./api.js";
import { useOverview } from "./store.js";
import { Empty, Shape, State } from "./ui.jsx";
import { Audit } from "./views/audit.jsx";
import { Leases } from "./views/leases.jsx";
import { Memory } from "./views/memory.jsx";
import { Mutations } from "./views/mutations.jsx";
import { Repo, Repos } from "./views/repos.jsx";
import { Session, Sessions } from "./views/sessions.jsx";

const INVITATION = /^#login=([0-9a-f]+)$/;
const THEMES = [["", "System"], ["light", "Light"], ["dark", "Dark"]];

/** Takes the invitation out of the address, so that it stays in no history. */
function invitation() {
  const found = INVITATION.exec(location.hash)?.[1] ?? null;
  if (found) history.replaceState(null, "", "/");
  return found;
}

const route = () => location.hash.replace(/^#\/?/, "").split("/").map((part) => {
  try { return decodeURIComponent(part); } catch { return part; }
});

function useRoute() {
  const [parts, setParts] = useState(route);
  useEffect(() => {
    const moved = () => {
      if (INVITATION.test(location.hash)) return location.reload();
      setParts(route());
    };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  const was = useRef(parts);
  useLayoutEffect(() => {
    if (was.current === parts) return;
    was.current = parts;
    // Where a new page would put the reader.
    scrollTo(0, 0);
    document.getElementById("title")?.focus({ preventScroll: true });
  }, [parts]);
  return parts;
}

function Theme() {
  const [theme, setTheme] = useState(localStorage.getItem("repod.theme") ?? "");
  const choose = (event) => {
    const value = event.currentTarget.value;
    setTheme(value);
    localStorage.setItem("repod.theme", value);
    dress(value);
  };
  return (
    <label class="select"><span>Theme</span>
      <select value={theme} onChange={choose}>{THEMES.map(([id, text]) => <option key={id} value={id}>{text}</option>)}</select>
    </label>
  );
}

function dress(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  document.dispatchEvent(new Event("repod-theme"));
}

function Nav({ at, overview }) {
  const waiting = overview?.leases.reduce((sum, lease) => sum + lease.waiters.length, 0);
  const asking = overview?.sessions.filter(({ status }) => status === "waiting").length;
  const links = [["repos", "Repositories", overview?.repos.length], ["memory", "Memory"],
    ["sessions", "Sessions", overview?.sessions.length, asking && `${asking} waiting`],
    ["leases", "Leases", overview?.leases.length, waiting && `${waiting} waiting`], ["mutations", "Mutations"], ["audit", "Audit"]];
  return (
    <nav aria-label="Views">
      <ul>{links.map(([id, text, number, alarm]) => (
        <li key={id}><a href={`#/${id}`} aria-current={at === id ? "page" : undefined}>
          <span>{text}</span>
          {alarm ? <span class="alarm"><Shape name="pause" /> {alarm}</span> : number > 0 && <span class="number">{number}</span>}
        </a></li>
      ))}</ul>
    </nav>
  );
}

function Trouble({ trouble: { error, since, wait } }) {
  const unreachable = error.status === undefined;
  return (
    <div class="problem" role="alert">
      <p><State name="error" bare /> {unreachable ? "The daemon doesn't answer" : error.message} <span class="soft">since {since.toLocaleTimeString()}; asked again every {Math.round(wait / 1000)} s</span></p>
      {unreachable && <p class="hint">If it was restarted, <code>repod web</code> prints a new link. What is seen here is what was true before.</p>}
    </div>
  );
}

function View({ parts: [view, ...rest], ...props }) {
  switch (view || "repos") {
    case "repos": return rest[0] ? <Repo key={rest[0]} id={rest[0]} {...props} /> : <Repos {...props} />;
    case "memory": return <Memory {...props} />;
    case "sessions": return rest[1] ? <Session key={rest.join("/")} repoId={rest[0]} id={rest[1]} {...props} /> : <Sessions {...props} />;
    case "leases": return <Leases {...props} />;
    case "mutations": return <Mutations {...props} />;
    case "audit": return <Audit {...props} />;
    default: return <Empty title="There is no such view"><a href="#/repos">Repositories</a></Empty>;
  }
}

function Dashboard({ leave }) {
  const parts = useRoute();
  const { overview, trouble, again } = useOverview();
  const [said, tell] = useState("");
  const main = useRef(null);
  const skip = (event) => { event.preventDefault(); main.current.focus(); };
  return (
    <div class="frame">
      <a class="skip" href="#main" onClick={skip}>Skip to the content</a>
      <header class="top">
        <a class="brand" href="#/repos"><img src="/icon.svg" alt="" width="24" height="24" /> repod</a>
        <Nav at={parts[0] || "repos"} overview={overview} />
        <div class="foot">
          {overview && <p class="soft" title={overview.daemon.home}>repod {overview.daemon.version}, pid {overview.daemon.pid}<span class="path">{overview.daemon.home}</span></p>}
          <Theme />
          <button type="button" onClick={leave}>Log out</button>
        </div>
      </header>
      <main ref={main} id="main" tabIndex={-1}>
        {trouble && <Trouble trouble={trouble} />}
        <p class="unseen" role="status">{said}</p>
        {overview ? <View parts={parts} overview={overview} tell={tell} again={again} /> : !trouble && <p class="soft">Looking …</p>}
      </main>
    </div>
  );
}

/** What is to be read where nobody has come in. */
const OUTSIDE = {
  none: ["Not logged in", "This page is for the person whose daemon it is."],
  refused: ["This link doesn't let you in", "It was used already, or has expired: each is good for one login within ten minutes."],
  lost: ["You were logged out", "A login lasts twelve hours, and ends with the daemon."],
  left: ["Logged out", "This tab has forgotten its login."],
  unreachable: ["The daemon doesn't answer", "It may have ended, or is being replaced."],
};

function Outside({ why }) {
  const [title, text] = OUTSIDE[why];
  useEffect(() => { document.title = `${title} · repod`; }, [title]);
  return (
    <main class="alone">
      <img src="/icon.svg" alt="" width="40" height="40" />
      <h1>{title}</h1>
      <p>{text}</p>
      <p>In a terminal on this machine, <code>repod web</code> prints a new link.</p>
    </main>
  );
}

function App({ first }) {
  const [why, setWhy] = useState(first);
  useEffect(() => { whenLost(() => setWhy("lost")); }, []);
  useEffect(() => {
    // A new link pasted into a tab that waits for one.
    const moved = () => { if (why && INVITATION.test(location.hash)) location.reload(); };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, [why]);
  if (why) return <Outside why={why} />;
  return <Dashboard leave={async () => { await logout(); setWhy("left"); }} />;
}

async function begin() {
  dress(localStorage.getItem("repod.theme") ?? "");
  const invited = invitation();
  let why = isLoggedIn() ? null : "none";
  if (invited) {
    why = await login(invited).then(() => null, (error) => (error.status ? "refused" : "unreachable"));
  }
  render(<App first={why} />, document.getElementById("app"));
}

void begin();
