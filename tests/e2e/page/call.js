"use strict";

// A caller's web page with nothing but the browser's own API. Its server hands it the four members of a grant;
// the address of the product's API is in the page's query.

const api = new URLSearchParams(location.search).get("api");

/** What the page knows of its call. `frames` are the data channel's messages as they came. */
const call = { id: "", sessionId: "", state: "none", channel: "none", frames: [], events: [] };

let granted, peer, voice, recording;

/** Ask this page's own server for a session. */
async function grant() {
  const answer = await fetch("session", { method: "POST" });
  if (!answer.ok) throw new Error(`the page's server answered ${answer.status}`);
  return answer.json();
}

/** Post an SDP offer to the realtime service; `call` and `sdp` are set where it accepts. */
async function postOffer(url, secret, sdp) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { Authorization: `Bearer ${secret}`, "Content-Type": "application/sdp" },
    body: sdp,
  });
  if (answer.status !== 201) return { status: answer.status, problem: await answer.json() };
  return { status: 201, call: answer.headers.get("Location").split("/").pop(), sdp: await answer.text() };
}

/** Send a request about a session's call to the product's API. */
async function ofTheCall(method, sessionId, clientToken, body) {
  const headers = { Authorization: `Bearer ${clientToken}` };
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(`${api}/sessions/${sessionId}/call`, {
    method,
    headers,
    body: body && JSON.stringify(body),
  });
  return { status: answer.status, body: await answer.json() };
}

/** Return the status of a GET with the client token. */
async function statusOf(url, clientToken) {
  return (await fetch(url, { headers: { Authorization: `Bearer ${clientToken}` } })).status;
}

/** Call the agent. The microphone stays closed until `talk`. */
async function startCall() {
  granted = await grant();
  call.sessionId = granted.session_id;
  peer = new RTCPeerConnection();
  peer.onconnectionstatechange = () => show(peer.connectionState);
  peer.ontrack = ({ track }) => {
    document.getElementById("agent").srcObject = new MediaStream([track]);
  };
  voice = peer.addTransceiver("audio", { direction: "sendrecv" }).sender;
  const channel = peer.createDataChannel("oai-events");
  channel.onopen = () => (call.channel = "open");
  channel.onclose = () => (call.channel = "closed");
  channel.onmessage = ({ data }) => take(data);

  await peer.setLocalDescription();
  const answer = await postOffer(granted.calls_url, granted.client_secret, peer.localDescription.sdp);
  if (answer.status !== 201) throw new Error(`the offer was refused: ${JSON.stringify(answer)}`);
  call.id = answer.call;
  await peer.setRemoteDescription({ type: "answer", sdp: answer.sdp });
  const reported = await ofTheCall("POST", granted.session_id, granted.client_token, { call_id: answer.call });
  if (reported.status !== 202) throw new Error(`the call was not taken: ${JSON.stringify(reported)}`);
}

/** Open the microphone, and record what the agent says from now on. */
async function talk() {
  const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
  const parts = [];
  const recorder = new MediaRecorder(document.getElementById("agent").srcObject, {
    mimeType: "audio/webm;codecs=opus",
  });
  recorder.ondataavailable = ({ data }) => parts.push(data);
  recording = { recorder, parts };
  recorder.start();
  await voice.replaceTrack(microphone.getAudioTracks()[0]);
}

/** Return the recording as base64 of a WebM file. */
async function recorded() {
  const { recorder, parts } = recording;
  await new Promise((resolve) => {
    recorder.onstop = resolve;
    recorder.stop();
  });
  const url = await new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.readAsDataURL(new Blob(parts));
  });
  return url.slice(url.indexOf(",") + 1);
}

/** Return the browser's own figures of the audio that arrived. */
async function arrived() {
  for (const report of (await peer.getStats()).values()) {
    if (report.type === "inbound-rtp" && report.kind === "audio") {
      return { packets: report.packetsReceived, lost: report.packetsLost, energy: report.totalAudioEnergy };
    }
  }
  return null;
}

async function hangUp() {
  return ofTheCall("DELETE", granted.session_id, granted.client_token);
}

/** How many events of a type came. */
function count(type) {
  return call.events.filter((event) => event.type === type).length;
}

function take(frame) {
  const event = JSON.parse(frame);
  call.frames.push(frame);
  call.events.push(event);
  if (event.transcript) {
    const line = document.createElement("li");
    line.textContent = `${event.type.startsWith("response") ? "agent" : "you"}: ${event.transcript}`;
    document.getElementById("said").append(line);
  }
}

function show(state) {
  call.state = state;
  document.getElementById("state").textContent = state;
}
