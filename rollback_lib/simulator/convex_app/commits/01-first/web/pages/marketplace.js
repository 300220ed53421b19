const url = document.querySelector("meta[name=convex-url]").content;
const answer = await fetch(`${url}/api/query`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ path: "products:list", args: { category: "supplements" }, format: "json" }),
});
const { value } = await answer.json();
for (const product of value) {
  const item = document.createElement("li");
  item.textContent = `${product.name}: ${(product.priceCents / 100).toFixed(2)}`;
  document.querySelector("#products").append(item);
}
