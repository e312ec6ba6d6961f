//! The kept picture of a display: damage, stillness, scaling, PNG and JPEG within a budget.
