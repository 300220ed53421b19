const url = document.querySelector("meta[name=convex-url]").content;
const trainerId = new URLSearchParams(location.search).get("trainer");

const from = Date.now();
const answer = await fetch(`${url}/api/query`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({
    path: "bookings:listForTrainer",
    args: { trainerId, from, to: from + 14 * 24 * 60 * 60 * 1000 },
    format: "json",
  }),
});
const { value } = await answer.json();
document.querySelector("#taken").textContent = `${value.length} sessions in the next two weeks`;
