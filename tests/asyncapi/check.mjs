// Reads an AsyncAPI document from a file with AsyncAPI's own parser. Prints what the parser made of it as JSON: its
// complaints, and each operation with its action, the address of its channel and the names of its messages. Exits 1 when
// the parser does not take the document.
import { readFile } from "node:fs/promises";
import { Parser } from "@asyncapi/parser";

const ERROR = 0;

const text = await readFile(process.argv[2], "utf8");
const { document, diagnostics } = await new Parser().parse(text);
const complaints = diagnostics.map(({ code, message, path, severity }) => ({ code, message, path, severity }));
const operations = !document
  ? []
  : document.allOperations().all().map((operation) => ({
      id: operation.id(),
      action: operation.action(),
      channels: operation.channels().all().map((channel) => channel.address()),
      servers: operation.servers().all().map((server) => server.protocol()),
      messages: operation.messages().all().map((message) => message.name()),
      reply: operation.reply()?.messages().all().map((message) => message.name()) ?? null,
    }));
console.log(JSON.stringify({ version: document?.version() ?? null, complaints, operations }));
process.exit(document && !complaints.some(({ severity }) => severity === ERROR) ? 0 : 1);
