// node -e THIS SOCKET METHOD PATH BODY: prints the status, then the body.
const [socketPath, method, path, body] = process.argv.slice(1);
const request = require("node:http").request({ socketPath, method, path }, (answer) => {
  console.log(answer.statusCode);
  answer.pipe(process.stdout);
});
request.setTimeout(30000, () => request.destroy(new Error("no answer")));
request.end(body || undefined);
