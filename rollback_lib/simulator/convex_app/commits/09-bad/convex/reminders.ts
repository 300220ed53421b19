import { v } from "convex/values";
import { internalMutation } from "./_generated/server";

export const send = internalMutation({
  args: { bookingId: v.id("bookings") },
  handler: async (ctx, { bookingId }) => {
    const booking = await ctx.db.get(bookingId);
    if (booking === null || booking.status !== "booked") return;
    const from = process.env.BOOKING_MAIL_FROM;
    if (from === undefined) throw new Error("BOOKING_MAIL_FROM is not set");
    const trainer = await ctx.db.get(booking.trainerId);
    await ctx.db.insert("notifications", {
      userId: booking.userId,
      from,
      subject: `Your session with ${trainer?.name ?? "us"} today`,
      body: `It begins at ${new Date(booking.startsAt).toISOString()}.`,
    });
  },
});
