// A device on MQTT.js over WebSocket, for the Go test that starts it. It takes commands as JSON lines on standard input
// and tells what happens as JSON lines on standard output.
//
// usage: node client.mjs URL USER DEVICE PASSWORD VERSION
import { createInterface } from "node:readline";
import mqtt from "mqtt";

const [url, username, clientId, password, version] = process.argv.slice(2);
const tell = (event) => process.stdout.write(JSON.stringify(event) + "\n");

const client = mqtt.connect(url, {
  username,
  clientId,
  password,
  protocolVersion: Number(version),
  clean: false,
  properties: version === "5" ? { sessionExpiryInterval: 3600 } : undefined,
  reconnectPeriod: 100,
  resubscribe: false,
});
client.on("connect", (ack) => tell({ event: "connected", session: ack.sessionPresent }));
client.on("close", () => tell({ event: "closed" }));
client.on("error", (err) => tell({ event: "error", text: err.message }));
client.on("message", (topic, payload, packet) =>
  tell({
    event: "message",
    topic,
    payload: payload.toString(),
    dup: packet.dup,
    qos: packet.qos,
    responseTopic: packet.properties?.responseTopic,
    correlation: packet.properties?.correlationData?.toString(),
  }),
);

const commands = {
  async subscribe({ filters }) {
    const granted = await client.subscribeAsync(filters, { qos: 1 });
    tell({ event: "subscribed", codes: granted.map((g) => g.qos) });
  },
  async publish({ topic, payload, responseTopic, correlation }) {
    const properties = responseTopic ? { responseTopic, correlationData: Buffer.from(correlation) } : undefined;
    await client.publishAsync(topic, payload, { qos: 1, properties });
    tell({ event: "published", topic, payload });
  },
  async end() {
    await client.endAsync();
    process.exit(0);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  // Not awaited: a publish is answered after a reconnect, too, while other commands go on.
  commands[command.do](command).catch((err) => tell({ event: "failed", do: command.do, text: err.message }));
}
