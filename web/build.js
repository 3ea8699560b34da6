// Builds the dashboard into dist/ (or the directory named), the same bytes wherever it is built.

import { build } from "esbuild";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(here, "dist"));

await mkdir(out, { recursive: true });
const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: { app: "src/main.jsx" },
  outdir: out,
  bundle: true,
  format: "esm",
  target: ["chrome123", "firefox121", "safari17.5"],
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: true,
  charset: "utf8",
  banner: { js: "// With preact and uPlot, both under the MIT licence: /licences.txt" },
  logLevel: "warning",
  metafile: true,
});
// Their licences want to be where they are.
const licences = await Promise.all(["preact", "uplot"].map(async (name) => {
  const dir = join(here, "node_modules", name);
  const { version } = JSON.parse(await readFile(join(dir, "package.json"), "utf8"));
  return `${name} ${version}\n\n${await readFile(join(dir, "LICENSE"), "utf8")}`;
}));
await writeFile(join(out, "licences.txt"), licences.join("\n\n"));
for (const file of ["index.html", "icon.svg"]) await cp(join(here, "src", file), join(out, file));
for (const [name, { bytes }] of Object.entries(metafile.outputs)) console.log(`${name} ${bytes}`);
