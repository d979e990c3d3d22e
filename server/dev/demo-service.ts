/** One of the small HTTP services that `roster dev` starts: tells its parent the port it got, and dies with its parent. */
import { createServer } from 'node:http';

const name = process.env.DEMO_NAME ?? 'demo';
const server = createServer((request, response) => {
  response.end(`hello from ${name} (pid ${process.pid}), you asked for ${request.url}\n`);
});
server.listen(Number(process.env.DEMO_PORT ?? 0), '127.0.0.1', () => {
  process.send?.({ port: (server.address() as { port: number }).port });
});
process.on('disconnect', () => process.exit());
// Ctrl-C reaches the whole group; the parent decides when its services stop.
process.on('SIGINT', () => {});
